// Spikes on their way out: a FIFO of 2**BITS entries in block RAM. A push while it is full is refused, and said.
module event_fifo #(
    parameter int WIDTH = 14,
    parameter int BITS  = 4
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             push,
    input  logic [WIDTH-1:0] push_data,
    output logic             full,
    output logic             refused,    // a push that found it full: nobody may lose one unseen
    output logic             empty,
    output logic             pop_valid,  // `pop_data` is the oldest entry
    output logic [WIDTH-1:0] pop_data,
    input  logic             pop         // only with pop_valid
);
    // a place is never read while it is written: no logic for that case
    (* no_rw_check *) logic [WIDTH-1:0] entries[1<<BITS];
    // one bit more than a place, so that full and empty differ
    logic [BITS:0] head, tail, next_head;

    assign full      = head[BITS] != tail[BITS] && head[BITS-1:0] == tail[BITS-1:0];
    assign empty     = head == tail;
    assign refused   = push && full;
    assign next_head = head + (BITS + 1)'(pop);

    always_ff @(posedge clk) begin
        if (push && !full) entries[tail[BITS-1:0]] <= push_data;
        pop_data <= entries[next_head[BITS-1:0]];
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            head      <= '0;
            tail      <= '0;
            pop_valid <= 1'b0;
        end else begin
            head <= next_head;
            if (push && !full) tail <= tail + 1'b1;
            // what is pushed in this cycle can be read in the next one only
            pop_valid <= next_head != tail;
        end
    end

`ifdef FORMAL
    // One entry, any of them, is followed from its push to its pop: nothing accepted is lost, changed, doubled or out of order.
    (* anyconst *) logic [BITS:0] place;
    logic             within_it, begun;
    logic [WIDTH-1:0] followed;

    initial begun = 1'b0;
    always_ff @(posedge clk) begin
        begun <= 1'b1;
        assume (begun || rst);
        assume (!pop || pop_valid);
        if (rst) within_it <= 1'b0;
        else if (push && !full && tail == place) begin
            within_it   <= 1'b1;
            followed <= push_data;
        end else if (pop && head == place) within_it <= 1'b0;
        if (begun && !rst) begin
            assert (tail - head <= (BITS + 1)'(1 << BITS));
            assert (full == (tail - head == (BITS + 1)'(1 << BITS)));
            assert (refused == (push && full));
            assert (within_it == (place - head < tail - head));
            assert (!within_it || entries[place[BITS-1:0]] == followed);
            assert (!pop_valid || head != tail);
            assert (!pop_valid || pop_data == entries[head[BITS-1:0]]);
            assert (!(pop && head == place) || (within_it && pop_data == followed));
            cover (full && within_it && head == place && pop);
        end
    end
`elsif SYNTHESIS
`else
    always_ff @(posedge clk) begin
        if (!rst) begin
            a_pops_what_is_there : assert (!(pop && !pop_valid));
            a_holds_no_more_than_it_has : assert (tail - head <= (BITS + 1)'(1 << BITS));
        end
    end
`endif
endmodule

// Units that spiked in this tick, one after the other: of the input, from its events, or of a population, from its list.
module spike_source #(
    parameter int ADDR_BITS = 17,
    parameter int UNIT_BITS = 32
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 load_first,   // registers INPUT and INPUT_COUNT are written
    input  logic                 load_count,
    input  logic [         31:0] load_value,
    input  logic                 wide,
    input  logic [         31:0] tick,
    input  logic                 start_input,  // from the first event of this tick
    input  logic                 start_list,   // from the list in the records at `records`, `stride` words apart
    input  logic [ADDR_BITS-3:0] records,
    input  logic [          6:0] stride,
    input  logic                 next,         // `unit` was used
    input  logic                 end_tick,     // events that were read are done with
    output logic                 valid,        // `unit` spiked
    output logic                 ended,        // no more: until the next start
    output logic                 bad,          // an event of a tick that is over
    output logic [UNIT_BITS-1:0] unit,
    output logic                 mem_valid,
    output logic [ADDR_BITS-3:0] mem_addr,
    input  logic                 mem_ack,
    input  logic [         31:0] mem_rdata
);
    typedef enum logic [2:0] {
        ENDED, TICK_LOW, TICK_HIGH, UNIT_LOW, UNIT_HIGH, LIST, HELD
    } state_t;
    state_t state;

    logic [ADDR_BITS-2:0] first, cursor;  // in halfwords
    logic [ADDR_BITS-3:0] first_left, left, entry;
    logic [          6:0] apart;
    logic                 from_list, last, low_equal, low_less;
    logic [         15:0] half, now;
    logic                 half_equal, half_less;

    assign half       = cursor[0] ? mem_rdata[31:16] : mem_rdata[15:0];
    assign now        = state == TICK_LOW ? tick[15:0] : tick[31:16];
    assign half_equal = half == now;
    assign half_less  = {1'b0, half} < {1'b0, now} + 17'(low_less && state == TICK_HIGH);

    assign valid     = state == HELD;
    assign ended     = state == ENDED;
    assign mem_valid = !valid && !ended;
    assign mem_addr  = !mem_valid ? '0 : state == LIST ? entry : cursor[ADDR_BITS-2:1];
    assign bad       = state == TICK_HIGH && mem_ack && half_less;

    always_ff @(posedge clk) begin
        if (rst) state <= ENDED;
        else if (start_input) state <= first_left == 0 ? ENDED : TICK_LOW;
        else if (start_list) state <= LIST;
        else if (state == HELD) begin
            if (next) state <= from_list ? (last ? ENDED : LIST) : left == 0 ? ENDED : TICK_LOW;
        end else if (mem_ack) begin
            case (state)
                TICK_LOW: state <= TICK_HIGH;
                TICK_HIGH: state <= low_equal && half_equal ? UNIT_LOW : ENDED;
                UNIT_LOW: state <= wide ? UNIT_HIGH : HELD;
                LIST: state <= mem_rdata[30] ? ENDED : HELD;
                default: state <= HELD;
            endcase
        end
    end

    always_ff @(posedge clk) begin
        if (start_input) from_list <= 1'b0;
        if (start_list) begin
            from_list <= 1'b1;
            entry     <= records;
            apart     <= stride;
        end
        if (mem_ack) begin
            case (state)
                TICK_LOW: begin
                    low_equal <= half_equal;
                    low_less  <= half_less;
                end
                UNIT_LOW: unit <= UNIT_BITS'(half);
                UNIT_HIGH: unit <= UNIT_BITS'({half, unit[15:0]});
                LIST: begin
                    unit  <= UNIT_BITS'(mem_rdata[29:0]);
                    last  <= mem_rdata[31];
                    entry <= entry + (ADDR_BITS - 2)'(apart);
                end
                default: ;
            endcase
        end
    end

    // the cursor goes back over the tick of an event that is later
    always_ff @(posedge clk) begin
        if (start_input) begin
            cursor <= first;
            left   <= first_left;
        end else if (mem_ack && state != LIST) begin
            cursor <= cursor + (state == TICK_HIGH && !(low_equal && half_equal) ? -(ADDR_BITS - 1)'(1) : (ADDR_BITS - 1)'(1));
            if (state == UNIT_LOW) left <= left - 1'b1;
        end
        if (load_first) first <= load_value[ADDR_BITS-1:1];
        else if (end_tick) first <= cursor;
        if (load_count) first_left <= load_value[ADDR_BITS-3:0];
        else if (end_tick) first_left <= left;
    end
endmodule

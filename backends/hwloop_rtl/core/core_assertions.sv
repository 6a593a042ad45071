// What must hold in every cycle of a simulation. Not part of what is synthesised.
module core_assertions #(
    parameter int ADDR_BITS = 17
) (
    input logic        clk,
    input logic        rst,
    input logic        busy,
    input logic        start,
    input logic [ 4:0] turns,         // requests of the parts that take turns
    input logic        fifo_refused,
    input logic        fifo_empty,
    input logic        finished,
    input logic        mem_valid,
    input logic        mem_write,
    input logic        mem_ready,
    input logic [31:0] mem_addr,
    input logic [31:0] mem_wdata,
    input logic [ 3:0] mem_wstrb
);
    // cycles without a request, of a core that is busy: the longest product, and a few states around it
    localparam int Stuck = 64;

    logic [6:0] quiet_cycles;
    logic was_waiting, was_write;
    logic [31:0] was_addr, was_wdata;
    logic [3:0] was_wstrb;

    always_ff @(posedge clk) begin
        quiet_cycles <= rst || !busy || mem_valid ? '0 : quiet_cycles + 1'b1;
        was_waiting  <= !rst && mem_valid && !mem_ready;
        {was_write, was_addr, was_wdata, was_wstrb} <= {mem_write, mem_addr, mem_wdata, mem_wstrb};
        if (!rst) begin
            a_no_spike_is_lost : assert (!fifo_refused);
            a_never_stuck : assert (quiet_cycles < 7'(Stuck));
            a_one_at_a_time : assert ((turns & (turns - 5'd1)) == 5'd0);
            a_rest_is_silent : assert (busy || start || !mem_valid);
            a_ends_with_all_written : assert (!finished || fifo_empty);
            a_within_memory : assert (!mem_valid || mem_addr >> ADDR_BITS == 0);
            a_strobes_of_writes_only : assert (!mem_valid || mem_write == (mem_wstrb != 0));
            // a request holds until it is answered
            a_request_holds :
            assert (!was_waiting || (mem_valid && mem_write == was_write && mem_addr == was_addr && mem_wdata == was_wdata
                                     && mem_wstrb == was_wstrb));
        end
    end
endmodule

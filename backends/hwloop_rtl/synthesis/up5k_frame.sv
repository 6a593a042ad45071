// The neuron core with the memory of a UP5K, 128 KiB of SPRAM, between a few pins: what place and route needs to tell the clock. The
// register port is shifted in and out bit by bit.
module up5k_frame #(
    parameter int UNIT_BITS = 16,
    parameter int DSP       = 1
) (
    input  logic clk,
    input  logic rst,
    input  logic in,
    input  logic act,
    output logic out
);
    logic mem_valid, mem_write, mem_ready, was_read, bank_read;
    logic [31:0] mem_addr, mem_wdata, mem_rdata, reg_rdata, shown;
    logic [63:0] bank_rdata;
    logic [3:0] mem_wstrb;
    logic [41:0] taken;

    neuron_core #(.ADDR_BITS(17), .UNIT_BITS(UNIT_BITS), .DSP(DSP)) core (
        .reg_valid(act), .reg_write(taken[41]), .reg_addr(taken[39:32]), .reg_wdata(taken[31:0]), .*
    );

    // a read takes a cycle more than a write
    assign mem_ready = mem_write || was_read;
    assign mem_rdata = bank_read ? bank_rdata[63:32] : bank_rdata[31:0];
    assign out       = shown[31];

    always_ff @(posedge clk) begin
        was_read  <= mem_valid && !mem_write && !was_read && !rst;
        bank_read <= mem_addr[16];
        taken     <= {taken[40:0], in};
        shown     <= act ? reg_rdata : {shown[30:0], 1'b0};
    end

    genvar bank, half;
    generate
        for (bank = 0; bank < 2; bank = bank + 1) begin : g_bank
            for (half = 0; half < 2; half = half + 1) begin : g_half
                SB_SPRAM256KA words (
                    .ADDRESS(mem_addr[15:2]), .DATAIN(mem_wdata[16*half+:16]),
                    .MASKWREN({{2{mem_wstrb[2*half+1]}}, {2{mem_wstrb[2*half]}}}), .WREN(mem_valid && mem_write),
                    .CHIPSELECT(mem_valid && mem_addr[16] == bank), .CLOCK(clk), .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1),
                    .DATAOUT(bank_rdata[32*bank+16*half+:16])
                );
            end
        end
    endgenerate
endmodule

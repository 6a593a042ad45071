// The memory in the four single-port RAMs of an iCE40 UP5K: 128 KiB, empty at power-up. As ram_block.sv otherwise.
module ram_up5k (
    input  logic        clk,
    input  logic        rst,
    input  logic        valid,
    input  logic        write,
    input  logic [31:0] addr,
    input  logic [31:0] wdata,
    input  logic [ 3:0] wstrb,
    output logic        ready,
    output logic [31:0] rdata
);
  logic there, upper;  // the bank that was read
  logic [31:0] low, high;
  assign ready = valid && (write || there);
  assign rdata = upper ? high : low;

  genvar half;
  generate
    for (half = 0; half < 2; half = half + 1) begin : halves
      SB_SPRAM256KA first (
          .CLOCK(clk), .ADDRESS(addr[15:2]), .DATAIN(wdata[16*half+:16]),
          .MASKWREN({{2{wstrb[2*half+1]}}, {2{wstrb[2*half]}}}), .WREN(write), .CHIPSELECT(valid && !addr[16]),
          .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(low[16*half+:16])
      );
      SB_SPRAM256KA second (
          .CLOCK(clk), .ADDRESS(addr[15:2]), .DATAIN(wdata[16*half+:16]),
          .MASKWREN({{2{wstrb[2*half+1]}}, {2{wstrb[2*half]}}}), .WREN(write), .CHIPSELECT(valid && addr[16]),
          .STANDBY(1'b0), .SLEEP(1'b0), .POWEROFF(1'b1), .DATAOUT(high[16*half+:16])
      );
    end
  endgenerate

  always_ff @(posedge clk) begin
    there <= !rst && valid && !write && !ready;
    if (valid) upper <= addr[16];
  end
endmodule

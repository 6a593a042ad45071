// The chip on an iCEBreaker (iCE40 UP5K): 12 MHz, 3 Mbit/s through the board's USB bridge. Not yet run on hardware.
module icebreaker (
    input  logic CLK,
    input  logic BTN_N,
    input  logic RX,
    output logic TX,
    output logic LEDR_N,
    output logic LEDG_N,
    output logic FLASH_SSB,
    output logic FLASH_SCK,
    output logic FLASH_IO0,
    input  logic FLASH_IO1
);
  logic idle, busy;
  assign LEDR_N = idle;   // red: it works
  assign LEDG_N = !busy;  // green: the neuron core does
  logic valid, write, ready, rst;
  logic [31:0] addr, wdata, memory_rdata;
  logic [3:0] wstrb;
  hwloop_soc #(
      .MEMORY_LOG2(17), .CLOCKS(4), .HZ(12000000), .SHA(0), .UNIT_BITS(16), .FAST(0), .BOOT(1)
  ) the_soc (
      .clk(CLK), .button(!BTN_N), .rx(RX), .tx(TX), .hold_sender(), .seed(32'd0), .idle, .busy, .stopped(), .pc(),
      .flash_select_n(FLASH_SSB), .flash_clock(FLASH_SCK), .flash_out(FLASH_IO0), .flash_in(FLASH_IO1),
      .valid, .write, .addr, .wdata, .wstrb, .ready, .memory_rdata, .rst
  );
  ram_up5k the_memory (.clk(CLK), .rst, .valid, .write, .addr, .wdata, .wstrb, .ready, .rdata(memory_rdata));
endmodule

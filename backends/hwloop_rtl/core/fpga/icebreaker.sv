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
  hwloop_soc #(
      .MEMORY_LOG2(17), .CLOCKS(4), .RECEIVE_LOG2(11), .HZ(12000000), .SHA(0), .NEURON_CORE(1), .FAST(0), .BOOT(1), .FIRMWARE("")
  ) chip (
      .clk(CLK), .button(!BTN_N), .rx(RX), .tx(TX), .hold_sender(), .seed(32'd0), .stall(1'b0), .idle, .busy, .stopped(), .pc(),
      .flash_select_n(FLASH_SSB), .flash_clock(FLASH_SCK), .flash_out(FLASH_IO0), .flash_in(FLASH_IO1)
  );
endmodule

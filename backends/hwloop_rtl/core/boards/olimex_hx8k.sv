// The chip on an Olimex iCE40HX8K-EVB: 25 MHz, its memory in the board's 512 KiB of SRAM, 1 Mbit/s on pins 5 (RX) and 7 (TX) of GPIO1, to a
// USB bridge with 3.3 V. Not yet run on hardware.
module olimex_hx8k (
    input  logic        CLK,          // 100 MHz
    input  logic        BUT1,         // 0 while pressed
    input  logic        RX,
    output logic        TX,
    output logic        LED1,
    output logic        LED2,
    output logic        FLASH_SS,
    output logic        FLASH_SCK,
    output logic        FLASH_OUT,
    input  logic        FLASH_IN,
    output logic [17:0] SRAM_A,
    inout  wire  [15:0] SRAM_D,
    output logic        SRAM_CS_N,
    output logic        SRAM_OE_N,
    output logic        SRAM_WE_N
);
  logic [1:0] divided = 2'd0;
  logic clk;
  always_ff @(posedge CLK) divided <= divided + 2'd1;
  SB_GB on_global_wires (.USER_SIGNAL_TO_GLOBAL_BUFFER(divided[1]), .GLOBAL_BUFFER_OUTPUT(clk));

  logic idle, busy, valid, write, ready, rst, sram_drive;
  logic [31:0] addr, wdata, memory_rdata;
  logic [3:0] wstrb;
  logic [15:0] sram_out, sram_in;
  assign LED1 = !idle;
  assign LED2 = busy;
  assign SRAM_CS_N = 1'b0;
  hwloop_soc #(
      .MEMORY_LOG2(19), .CLOCKS(25), .HZ(25000000), .SHA(0), .UNIT_BITS(20), .DSP(0), .BOOT(1)
  ) the_soc (
      .clk, .button(!BUT1), .rx(RX), .tx(TX), .hold_sender(), .seed(32'd0), .idle, .busy, .stopped(), .pc(),
      .flash_select_n(FLASH_SS), .flash_clock(FLASH_SCK), .flash_out(FLASH_OUT), .flash_in(FLASH_IN),
      .valid, .write, .addr, .wdata, .wstrb, .ready, .memory_rdata, .rst
  );
  ram_sram #(.LOG2(19)) the_memory (
      .clk, .rst, .valid, .write, .addr, .wdata, .wstrb, .ready, .rdata(memory_rdata),
      .sram_addr(SRAM_A), .sram_out, .sram_in, .sram_drive, .sram_write_n(SRAM_WE_N), .sram_read_n(SRAM_OE_N)
  );

  genvar k;
  generate
    for (k = 0; k < 16; k = k + 1) begin : pads
      SB_IO #(.PIN_TYPE(6'b1010_01)) pad (
          .PACKAGE_PIN(SRAM_D[k]), .OUTPUT_ENABLE(sram_drive), .D_OUT_0(sram_out[k]), .D_IN_0(sram_in[k])
      );
    end
  endgenerate
endmodule

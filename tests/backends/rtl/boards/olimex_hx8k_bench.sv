// The chip of an iCE40HX8K-EVB with its flash and SRAM, at the pins that the simulation drives. No flow control.
module simulated_chip (
    input  logic        clk, button, rx,
    output logic        tx, hold_sender,
    input  logic [31:0] seed,
    input  logic        stall,
    output logic        idle, busy, stopped,
    output logic [31:0] pc
);
  logic ss, sck, out, in, works, cs_n, oe_n, we_n;
  logic [17:0] address;
  wire [15:0] data;
  olimex_hx8k board (
      .CLK(clk), .BUT1(!button), .RX(rx), .TX(tx), .LED1(works), .LED2(busy), .FLASH_SS(ss), .FLASH_SCK(sck), .FLASH_OUT(out),
      .FLASH_IN(in), .SRAM_A(address), .SRAM_D(data), .SRAM_CS_N(cs_n), .SRAM_OE_N(oe_n), .SRAM_WE_N(we_n)
  );
  flash_model flash (.clk, .select_n(ss), .clock(sck), .in(out), .out(in));
  sram_model sram (.clk, .address, .data, .cs_n, .oe_n, .we_n);
  assign {idle, hold_sender, stopped, pc} = {!works, 1'b0, 1'b0, 32'd0};
endmodule

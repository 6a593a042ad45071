// The chip of an iCEBreaker with its flash, at the pins that the simulation drives. No flow control: the board has none.
module simulated_chip (
    input  logic        clk, button, rx,
    output logic        tx, hold_sender,
    input  logic [31:0] seed,
    input  logic        stall,
    output logic        idle, busy, stopped,
    output logic [31:0] pc
);
  logic ssb, sck, io0, io1, green_n;
  icebreaker board (
      .CLK(clk), .BTN_N(!button), .RX(rx), .TX(tx), .LEDR_N(idle), .LEDG_N(green_n), .FLASH_SSB(ssb), .FLASH_SCK(sck), .FLASH_IO0(io0),
      .FLASH_IO1(io1)
  );
  flash_model flash (.clk, .select_n(ssb), .clock(sck), .in(io0), .out(io1));
  assign {hold_sender, busy, stopped, pc} = {1'b0, !green_n, 1'b0, 32'd0};
endmodule

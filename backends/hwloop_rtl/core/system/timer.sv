// Milliseconds since the start, and clocks to the next one. HZ: clocks a second; a simulated second has as many.
module timer #(
    parameter integer HZ = 12000000
) (
    input  logic        clk,
    input  logic        rst,
    output logic        passed,        // for one clock: a millisecond has passed
    output logic [31:0] milliseconds,
    output logic [15:0] left
);
  localparam integer PERIOD = HZ / 1000;
  localparam integer WIDTH = $clog2(PERIOD + 1);
  logic [WIDTH-1:0] down;
  assign left = 16'(down);
  assign passed = down == '0;
  always_ff @(posedge clk) begin
    if (rst) begin
      down <= WIDTH'(PERIOD - 1);
      milliseconds <= 32'd0;
    end else begin
      down <= passed ? WIDTH'(PERIOD - 1) : down - 1'b1;
      if (passed) milliseconds <= milliseconds + 32'd1;
    end
  end
endmodule

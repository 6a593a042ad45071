// Milliseconds and clocks since the start. HZ: clocks a second; a simulated second has as many.
module timer #(
    parameter integer HZ = 12000000
) (
    input  logic        clk,
    input  logic        rst,
    output logic        passed,        // for one clock: a millisecond has passed
    output logic [31:0] milliseconds,
    output logic [31:0] clocks
);
  localparam integer PERIOD = HZ / 1000;
  localparam integer WIDTH = $clog2(PERIOD + 1);
  logic [WIDTH-1:0] left;
  assign passed = left == '0;
  always_ff @(posedge clk) begin
    if (rst) begin
      left <= WIDTH'(PERIOD - 1);
      milliseconds <= 32'd0;
      clocks <= 32'd0;
    end else begin
      left <= passed ? WIDTH'(PERIOD - 1) : left - 1'b1;
      if (passed) milliseconds <= milliseconds + 32'd1;
      clocks <= clocks + 32'd1;
    end
  end
endmodule

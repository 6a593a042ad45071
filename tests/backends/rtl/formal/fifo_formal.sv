// A byte that is marked comes out once, unchanged, behind those that were put before it and before those that were put after it; a full
// FIFO takes nothing.
module fifo_formal (
    input logic clk,
    input logic put,
    input logic take,
    input logic mark,
    input logic [1:0] data
);
  localparam integer LOG2 = 1, WIDTH = 2;
  logic rst = 1;
  always_ff @(posedge clk) rst <= 0;
  logic full, there;
  logic [WIDTH-1:0] out;
  logic [LOG2:0] count;
  fifo #(.LOG2(LOG2), .WIDTH(WIDTH)) dut (.clk, .rst, .put, .put_data(data), .full, .take(take && there), .data(out), .there, .count);

  // how many are in it, counted outside
  logic [3:0] held = 0;
  logic puts, takes;
  assign puts = put && !full && !rst;
  assign takes = take && there && !rst;
  always_ff @(posedge clk) held <= held + puts - takes;

  // the marked byte: how many are before it
  logic marked = 0;
  logic [3:0] before_it = 0;
  logic [WIDTH-1:0] kept;
  always_ff @(posedge clk) begin
    if (puts && mark && !marked) begin
      marked <= 1;
      before_it <= held - takes;
      kept <= data;
    end else if (takes && marked) begin
      if (before_it == 0) marked <= 0;
      before_it <= before_it - 1;
    end
  end

  always_comb begin
    if (!rst) begin
      assert (held == count + there);
      assert (count <= 2);
      assert (full == (count == 2));
      if (there && marked && before_it == 0) assert (out == kept);
    end
  end
endmodule

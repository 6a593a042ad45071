// Shifts of a word. BARREL 1: in no time. BARREL 0: by one place a clock, with a fifth of the cells: `ready` is 0 meanwhile; who asks
// holds all inputs until then.
module shifter #(
    parameter BARREL = 1
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        valid,
    input  logic [31:0] from,
    input  logic [ 4:0] places,
    input  logic        left,
    input  logic        signs,   // to the right, with copies of the sign
    output logic        ready,
    output logic [31:0] onto
);
  generate
    if (BARREL != 0) begin : at_once
      // one shifter to the right; to the left, the bits are turned around before and after it
      logic [31:0] turned, shifted;
      logic [32:0] widened;
      integer k;
      always_comb begin
        for (k = 0; k < 32; k = k + 1) turned[k] = left ? from[31-k] : from[k];
        widened = {signs & !left & turned[31], turned};
        shifted = 32'($signed(widened) >>> places);
        for (k = 0; k < 32; k = k + 1) onto[k] = left ? shifted[31-k] : shifted[k];
      end
      assign ready = 1'b1;
    end else begin : one_by_one
      logic [4:0] still;
      logic begun;
      assign ready = begun && still == 5'd0;
      always_ff @(posedge clk) begin
        if (!begun) begin
          onto  <= from;
          still <= places;
        end else if (still != 5'd0) begin
          onto  <= left ? {onto[30:0], 1'b0} : {signs & onto[31], onto[31:1]};
          still <= still - 5'd1;
        end
      end
      always_ff @(posedge clk) begin
        begun <= !rst && valid && !ready;
      end
    end
  endgenerate
endmodule

// The 32 registers of RV32I in block RAM: two copies, so that two are read in one clock. x0 is never written and stays 0.
module registers (
    input  logic        clk,
    input  logic        reads,         // the next clock brings the two that are named now
    input  logic [ 4:0] first_index,
    input  logic [ 4:0] second_index,
    output logic [31:0] first,
    output logic [31:0] second,
    input  logic        writes,
    input  logic [ 4:0] write_index,
    input  logic [31:0] value
);
  // never read in a clock that writes: synthesis need not care which comes first
  (* no_rw_check *) logic [31:0] one_copy[0:31];
  (* no_rw_check *) logic [31:0] other_copy[0:31];
  integer k;
  initial begin
    for (k = 0; k < 32; k = k + 1) begin
      one_copy[k]   = 32'd0;
      other_copy[k] = 32'd0;
    end
  end

  always_ff @(posedge clk) begin
    if (reads) first <= one_copy[first_index];
    if (writes && write_index != 5'd0) one_copy[write_index] <= value;
  end
  always_ff @(posedge clk) begin
    if (reads) second <= other_copy[second_index];
    if (writes && write_index != 5'd0) other_copy[write_index] <= value;
  end
endmodule

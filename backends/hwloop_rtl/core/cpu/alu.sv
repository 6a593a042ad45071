// What RV32I computes from two numbers, shifts aside: combinational. `operation` is funct3 of the instruction.
module alu (
    input  logic [31:0] a,
    input  logic [31:0] b,
    input  logic        subtract,  // for differences, and all comparisons
    input  logic [ 2:0] operation,
    output logic [31:0] result,
    output logic [31:0] sum,       // a + b, or a - b, whatever the operation
    output logic        less,      // a < b as signed numbers, with `subtract`
    output logic        below      // a < b as unsigned numbers, likewise
);
  localparam logic [2:0] ADD = 0, LESS = 2, BELOW = 3, XOR = 4, OR = 6, AND = 7;

  logic [31:0] other;
  logic carry;
  assign other = subtract ? ~b : b;
  assign {carry, sum} = {1'b0, a} + {1'b0, other} + {32'd0, subtract};
  assign below = !carry;
  assign less = a[31] != b[31] ? a[31] : below;

  always_comb begin
    case (operation)
      LESS: result = {31'd0, less};
      BELOW: result = {31'd0, below};
      XOR: result = a ^ b;
      OR: result = a | b;
      AND: result = a & b;
      default: result = sum;
    endcase
  end
endmodule

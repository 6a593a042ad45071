// What RV32I computes from two numbers: combinational. `operation` is funct3 of the instruction, `alternate` its bit 30.
module alu (
    input  logic [31:0] a,
    input  logic [31:0] b,
    input  logic [ 2:0] operation,
    input  logic        alternate,  // subtract, or shift right with the sign
    output logic [31:0] result,
    output logic [31:0] sum,        // a + b whatever the operation, for addresses
    output logic        equal,
    output logic        less,       // a < b as signed numbers
    output logic        below       // a < b as unsigned numbers
);
  localparam logic [2:0] ADD = 0, LEFT = 1, LESS = 2, BELOW = 3, XOR = 4, RIGHT = 5, OR = 6, AND = 7;

  // one adder for a - b: its carry is the comparison of unsigned numbers
  logic [32:0] difference;
  assign difference = {1'b0, a} - {1'b0, b};
  assign sum = a + b;
  assign below = difference[32];
  assign less = a[31] != b[31] ? a[31] : below;
  assign equal = difference[31:0] == 32'd0;

  // one shifter to the right; to the left, the bits are turned around before and after it
  logic [31:0] turned, shifted, back;
  logic [32:0] widened;
  integer k;
  always_comb begin
    for (k = 0; k < 32; k = k + 1) begin
      turned[k] = operation == LEFT ? a[31-k] : a[k];
    end
    widened = {alternate & turned[31] & (operation == RIGHT), turned};
    shifted = 32'($signed(widened) >>> b[4:0]);
    for (k = 0; k < 32; k = k + 1) begin
      back[k] = operation == LEFT ? shifted[31-k] : shifted[k];
    end
  end

  always_comb begin
    case (operation)
      ADD: result = alternate ? difference[31:0] : sum;
      LEFT, RIGHT: result = back;
      LESS: result = {31'd0, less};
      BELOW: result = {31'd0, below};
      XOR: result = a ^ b;
      OR: result = a | b;
      AND: result = a & b;
      default: result = 32'd0;
    endcase
  end
endmodule

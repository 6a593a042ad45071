// The number that stands in an instruction, by the form of its opcode (RISC-V Unprivileged ISA 2.3): combinational.
module immediate (
    input  logic [31:0] instruction,
    output logic [31:0] value
);
  localparam logic [4:0] STORE = 5'b01000, BRANCH = 5'b11000, JAL = 5'b11011, LUI = 5'b01101, AUIPC = 5'b00101;
  logic [19:0] sign;
  assign sign = {20{instruction[31]}};
  always_comb begin
    case (instruction[6:2])
      STORE: value = {sign, instruction[31:25], instruction[11:7]};
      BRANCH: value = {sign, instruction[7], instruction[30:25], instruction[11:8], 1'b0};
      JAL: value = {sign[11:0], instruction[19:12], instruction[20], instruction[30:21], 1'b0};
      LUI, AUIPC: value = {instruction[31:12], 12'd0};
      default: value = {sign, instruction[31:20]};
    endcase
  end
endmodule

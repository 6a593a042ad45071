// Bytes and halves of a word: where they stand in a store, and what a load makes of them; combinational. `width` is funct3.
module lanes (
    input  logic [ 2:0] width,      // bits 1:0: 0 a byte, 1 a half, 2 a word; bit 2: without a sign
    input  logic [ 1:0] place,      // low bits of the address
    input  logic [31:0] stored,
    output logic [31:0] to_memory,
    output logic [ 3:0] strobes,
    input  logic [31:0] from_memory,
    output logic [31:0] loaded,
    output logic        misaligned  // also true of a width that there is not
);
  logic [15:0] half;
  logic [ 7:0] one;
  assign half = place[1] ? from_memory[31:16] : from_memory[15:0];
  assign one = place[0] ? half[15:8] : half[7:0];
  always_comb begin
    case (width[1:0])
      2'd0: begin
        to_memory = {4{stored[7:0]}};
        strobes = 4'b0001 << place;
        loaded = {{24{one[7] & ~width[2]}}, one};
        misaligned = 1'b0;
      end
      2'd1: begin
        to_memory = {2{stored[15:0]}};
        strobes = place[1] ? 4'b1100 : 4'b0011;
        loaded = {{16{half[15] & ~width[2]}}, half};
        misaligned = place[0];
      end
      default: begin
        to_memory = stored;
        strobes = 4'b1111;
        loaded = from_memory;
        misaligned = place != 2'd0 || width[0] || width[2];
      end
    endcase
  end
endmodule

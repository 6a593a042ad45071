// CRC-32 and SHA-256 as registers of the processor (words, at their byte address). Both make it wait while they compute.
//   00 CRC        read and write: the register of the CRC itself
//   04 CRC_BYTE   write: a byte
//   08 CRC_WORD   write: four bytes, the low one first
//   10 SHA_START  write: begin a digest
//   14 SHA_WORD   write: the next word of the message, its bytes as they stand in memory
//   20..3C SHA    read: the digest, bytes as they belong into memory; zeros where SHA is 0 and firmware computes it
module digests #(
    parameter SHA = 1,
    parameter integer CRC_BITS = 8  // of the CRC a clock
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        reg_valid,
    input  logic        reg_write,
    input  logic [ 7:0] reg_addr,
    input  logic [31:0] reg_wdata,
    output logic        reg_ready,
    output logic [31:0] reg_rdata
);
  logic gives, writes, crc_ready, sha_busy;
  logic [31:0] crc, word;
  logic [255:0] hash;
  assign gives = reg_valid && reg_write;
  assign writes = gives && reg_ready;
  assign reg_ready = crc_ready && !sha_busy;

  crc32 #(.BITS(CRC_BITS)) the_crc (
      .clk, .rst, .set(gives && reg_addr == 8'h00), .put_byte(gives && reg_addr == 8'h04), .put_word(gives && reg_addr == 8'h08),
      .data(reg_wdata), .ready(crc_ready), .value(crc)
  );
  generate
    if (SHA != 0) begin : with_sha
      sha256 the_sha (
          .clk, .rst, .start(writes && reg_addr == 8'h10), .put(writes && reg_addr == 8'h14),
          .word({reg_wdata[7:0], reg_wdata[15:8], reg_wdata[23:16], reg_wdata[31:24]}), .busy(sha_busy), .hash
      );
    end else begin : without_sha
      assign sha_busy = 1'b0;
      assign hash = 256'd0;
    end
  endgenerate

  always_comb begin
    word = 32'd0;
    case (reg_addr[4:2])
      3'd0: word = hash[255:224];
      3'd1: word = hash[223:192];
      3'd2: word = hash[191:160];
      3'd3: word = hash[159:128];
      3'd4: word = hash[127:96];
      3'd5: word = hash[95:64];
      3'd6: word = hash[63:32];
      default: word = hash[31:0];
    endcase
    reg_rdata = reg_addr[5] ? {word[7:0], word[15:8], word[23:16], word[31:24]} : crc;
  end
endmodule

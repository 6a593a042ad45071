// CRC-32 of zlib (reflected, polynomial EDB88320), BITS bits a clock (1, 2, 4 or 8); a word's low byte first. `value` is the register
// itself, without the inversions at start and end. Who gives data holds them until `ready`.
module crc32 #(
    parameter integer BITS = 8
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        set,        // start with `data`
    input  logic        put_byte,   // data[7:0]
    input  logic        put_word,
    input  logic [31:0] data,
    output logic        ready,
    output logic [31:0] value
);
  logic [4:0] at, last;  // first of the bits that come in now, and of the last ones
  assign last = put_word ? 5'(32 - BITS) : 5'(8 - BITS);
  assign ready = !(put_byte || put_word) || at == last;

  function automatic logic [31:0] after(input logic [31:0] crc, input logic [BITS-1:0] bits);
    integer k;
    after = crc ^ 32'(bits);
    for (k = 0; k < BITS; k = k + 1) after = {1'b0, after[31:1]} ^ (after[0] ? 32'hEDB88320 : 32'd0);
  endfunction

  always_ff @(posedge clk) begin
    if (rst) begin
      at <= 5'd0;
      value <= 32'd0;
    end else if (set) begin
      value <= data;
    end else if (put_byte || put_word) begin
      value <= after(value, data[at+:BITS]);
      at <= ready ? 5'd0 : at + 5'(BITS);
    end
  end
endmodule

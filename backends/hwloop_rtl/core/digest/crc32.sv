// CRC-32 of zlib (reflected, polynomial EDB88320), a byte a clock; a word takes four, its low byte first. `value` is the register
// itself, without the inversions at start and end. While it is `busy` nothing may be given.
module crc32 (
    input  logic        clk,
    input  logic        rst,
    input  logic        set,        // start with `data`
    input  logic        put_byte,   // data[7:0]
    input  logic        put_word,
    input  logic [31:0] data,
    output logic        busy,
    output logic [31:0] value
);
  logic [23:0] rest;
  logic [ 1:0] left;
  assign busy = left != 2'd0;

  function automatic logic [31:0] after(input logic [31:0] crc, input logic [7:0] one);
    integer k;
    after = crc ^ {24'd0, one};
    for (k = 0; k < 8; k = k + 1) after = {1'b0, after[31:1]} ^ (after[0] ? 32'hEDB88320 : 32'd0);
  endfunction

  always_ff @(posedge clk) begin
    if (rst) begin
      left  <= 2'd0;
      value <= 32'd0;
    end else if (busy) begin
      value <= after(value, rest[7:0]);
      rest <= {8'd0, rest[23:8]};
      left <= left - 2'd1;
    end else if (set) begin
      value <= data;
    end else if (put_byte || put_word) begin
      value <= after(value, data[7:0]);
      rest <= data[31:8];
      if (put_word) left <= 2'd3;
    end
  end
endmodule

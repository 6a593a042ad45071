// For any register and any word or byte, the CRC is that of the bits one by one: x * 2 mod the polynomial, as zlib has it.
module crc32_formal (
    input logic clk,
    input logic [31:0] start,
    input logic [31:0] data,
    input logic whole
);
  logic [31:0] first, given, value, expected;
  logic word, busy;
  logic [3:0] step = 0;
  logic rst;
  assign rst = step == 0;
  crc32 dut (
      .clk, .rst, .set(step == 1), .put_byte(step == 2 && !word), .put_word(step == 2 && word),
      .data(step == 1 ? first : given), .busy, .value
  );
  always_ff @(posedge clk) begin
    if (step == 0) begin
      first <= start;
      given <= data;
      word  <= whole;
    end
    if (step != 15) step <= step + 1;
  end

  integer k;
  always_comb begin
    expected = first;
    for (k = 0; k < 32; k = k + 1) begin
      if (word || k < 8) begin
        if (expected[0] ^ given[k]) expected = (expected >> 1) ^ 32'hEDB88320;
        else expected = expected >> 1;
      end
    end
  end

  always_comb begin
    if (step == 2) assert (value == first && !busy);
    if (step == 3) assert (busy == word);
    if (step == 3 && !word) assert (value == expected);
    if (step == 6) assert (value == expected || !word);
    if (step == 6) assert (!busy);
  end
endmodule

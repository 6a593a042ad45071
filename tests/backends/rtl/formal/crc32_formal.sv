// For any register and any word or byte, the CRC is that of the bits one by one: x * 2 mod the polynomial, as zlib has it.
module crc32_formal (
    input logic clk,
    input logic [31:0] start,
    input logic [31:0] data,
    input logic whole
);
  localparam integer BITS = 8;
  logic [31:0] first, given, value, expected;
  logic word, ready;
  logic [1:0] step = 0;  // reset, start, data, compare
  crc32 #(.BITS(BITS)) dut (
      .clk, .rst(step == 0), .set(step == 1), .put_byte(step == 2 && !word), .put_word(step == 2 && word),
      .data(step == 1 ? first : given), .ready, .value
  );
  logic [2:0] waited = 0;
  always_ff @(posedge clk) begin
    if (step == 0) begin
      first <= start;
      given <= data;
      word  <= whole;
    end
    if (step != 3 && (step != 2 || ready)) step <= step + 1;
    if (step == 2) waited <= waited + 1;
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
    if (step == 2 && waited == 0) assert (value == first);
    if (step == 2) assert (ready == (waited == (word ? 3 : 0)));
    if (step == 3) assert (value == expected);
  end
endmodule

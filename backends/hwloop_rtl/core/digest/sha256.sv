// SHA-256 (FIPS 180-4): after `start`, blocks of 16 words each, most significant byte first; a round a clock. Padding is up to who gives
// the words. While it is `busy` nothing may be given.
module sha256 (
    input  logic         clk,
    input  logic         rst,
    input  logic         start,
    input  logic         put,
    input  logic [ 31:0] word,
    output logic         busy,
    output logic [255:0] hash  // the first word of the digest in the high word
);
  localparam logic [255:0] FIRST = 256'h6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19;

  function automatic logic [31:0] small0(input logic [31:0] x);
    small0 = {x[6:0], x[31:7]} ^ {x[17:0], x[31:18]} ^ (x >> 3);
  endfunction
  function automatic logic [31:0] small1(input logic [31:0] x);
    small1 = {x[16:0], x[31:17]} ^ {x[18:0], x[31:19]} ^ (x >> 10);
  endfunction

  // the last 16 words of the message schedule, the oldest in the low word
  logic [511:0] schedule;
  logic [31:0] oldest, next;
  assign oldest = schedule[31:0];
  assign next = oldest + small0(schedule[63:32]) + schedule[9*32+:32] + small1(schedule[14*32+:32]);

  logic [255:0] state, after;
  logic [5:0] number;
  logic [3:0] words;
  logic finishing;
  sha256_round the_round (.number, .scheduled(oldest), .from(state), .onto(after));

  integer k;
  always_ff @(posedge clk) begin
    if (rst) begin
      busy <= 1'b0;
      finishing <= 1'b0;
      words <= 4'd0;
      hash <= FIRST;
    end else if (finishing) begin
      for (k = 0; k < 8; k = k + 1) hash[32*k+:32] <= hash[32*k+:32] + state[32*k+:32];
      finishing <= 1'b0;
      busy <= 1'b0;
    end else if (busy) begin
      state <= after;
      schedule <= {next, schedule[511:32]};
      number <= number + 6'd1;
      finishing <= number == 6'd63;
    end else if (start) begin
      hash  <= FIRST;
      words <= 4'd0;
    end else if (put) begin
      schedule <= {word, schedule[511:32]};
      words <= words + 4'd1;
      number <= 6'd0;
      state <= hash;
      busy <= words == 4'd15;
    end
  end
endmodule

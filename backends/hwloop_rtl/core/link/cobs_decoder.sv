// COBS (Cheshire & Baker, IEEE/ACM Trans. Networking 7, 1999), bytes of the line to bytes of frames. Each byte of the line makes one
// symbol at most: a byte of a frame, or the end of one, `ends`, with `bad` where it broke off in the middle of a block. Empty frames
// make none.
module cobs_decoder (
    input  logic       clk,
    input  logic       rst,
    input  logic       valid,       // a byte of the line
    input  logic [7:0] data,
    output logic       ready,
    output logic       there,       // a symbol; `take` takes it
    output logic [7:0] symbol,
    output logic       ends,
    output logic       bad,
    input  logic       take
);
  localparam logic [7:0] LONGEST = 8'hFF;  // a block of 254 bytes, with no zero behind it
  logic [7:0] code, left;  // of the block that is read, 0: before the first; bytes of it still to come
  logic accepts;
  assign ready = !there || take;
  assign accepts = valid && ready;

  always_ff @(posedge clk) begin
    if (rst) begin
      code  <= 8'd0;
      left  <= 8'd0;
      there <= 1'b0;
    end else begin
      if (take) there <= 1'b0;
      if (accepts) begin
        ends <= data == 8'd0;
        bad <= data == 8'd0 && left != 8'd0;
        if (data == 8'd0) begin
          there <= code != 8'd0;
          code  <= 8'd0;
          left  <= 8'd0;
        end else if (left != 8'd0) begin
          there  <= 1'b1;
          symbol <= data;
          left   <= left - 8'd1;
        end else begin
          there  <= code != 8'd0 && code != LONGEST;
          symbol <= 8'd0;
          code   <= data;
          left   <= data - 8'd1;
        end
      end
    end
  end
endmodule

// COBS the other way: bytes of a frame in, then `finish`; blocks and the delimiter out. A block is kept in block RAM until its
// length is known; meanwhile `ready` is 0.
module cobs_encoder (
    input  logic       clk,
    input  logic       rst,
    input  logic       valid,    // a byte of the frame, or its end
    input  logic       finish,
    input  logic [7:0] data,
    output logic       ready,
    output logic       out_valid,
    output logic [7:0] out_data,
    input  logic       out_ready
);
  localparam logic [1:0] FILL = 0, CODE = 1, BLOCK = 2, END = 3;
  localparam logic [7:0] LONGEST = 8'hFF;
  logic [1:0] state;
  (* no_rw_check *) logic [7:0] block[0:255];
  logic [7:0] filled, sent, kept;
  logic last, accepts;
  assign ready = state == FILL;
  assign accepts = valid && ready;

  always_ff @(posedge clk) begin
    if (accepts && !finish) block[filled] <= data;
  end
  // the byte that is sent next is read while the one before it goes out
  always_ff @(posedge clk) begin
    if (out_ready) kept <= block[state == BLOCK ? sent + 8'd1 : 8'd0];
  end

  assign out_valid = state != FILL;
  always_comb begin
    case (state)
      CODE: out_data = filled + 8'd1;
      BLOCK: out_data = kept;
      default: out_data = 8'd0;
    endcase
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      state <= FILL;
      filled <= 8'd0;
    end else begin
      case (state)
        FILL: begin
          sent <= 8'd0;
          if (accepts) begin
            last <= finish;
            if (finish || data == 8'd0) state <= CODE;
            else begin
              filled <= filled + 8'd1;
              if (filled == LONGEST - 8'd2) state <= CODE;
            end
          end
        end
        CODE:
        if (out_ready) begin
          if (filled != 8'd0) state <= BLOCK;
          else state <= last ? END : FILL;
        end
        BLOCK:
        if (out_ready) begin
          sent <= sent + 8'd1;
          if (sent + 8'd1 == filled) begin
            state  <= last ? END : FILL;
            filled <= 8'd0;
          end
        end
        END:
        if (out_ready) begin
          state  <= FILL;
          filled <= 8'd0;
        end
        default: state <= FILL;
      endcase
    end
  end
endmodule

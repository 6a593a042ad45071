// The line with its frames: UART, FIFOs and COBS in both directions. Registers (words, at their byte address):
//   00 SYMBOL  read: bit 31 nothing there, bit 9 the frame broke off, bit 8 end of a frame, bits 7:0 a byte of it; reading takes it
//   04 BYTE    write: a byte of a frame that is sent; waits while there is no room
//   08 FINISH  write: the frame is whole
//   0C COUNTS  read: bits 7:0 bytes that came while the FIFO was full (where the sender heeds `hold` there are none), 15:8 bytes
//              without a stop bit; 255: so many or more
module link #(
    parameter integer CLOCKS = 4,          // of a bit
    parameter integer RECEIVE_LOG2 = 11    // room for all frames that may be on their way: window x the longest one
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        rx,
    output logic        tx,
    output logic        hold,              // asks the sender to wait: the FIFO is nearly full
    input  logic        reg_valid,
    input  logic        reg_write,
    input  logic [ 7:0] reg_addr,
    input  logic [31:0] reg_wdata,
    output logic        reg_ready,
    output logic [31:0] reg_rdata,
    output logic        there,             // a symbol
    output logic        quiet              // nothing is on its way, in either direction
);
  localparam logic [7:0] SYMBOL = 8'h00, BYTE = 8'h04, FINISH = 8'h08, COUNTS = 8'h0C;

  // -- from the line ---------------------------------------------------------------------------------------------------
  logic came, broken, full, waiting, decodes, ends, bad, take, receiver_quiet;
  logic [7:0] came_data, waiting_data, symbol;
  logic [RECEIVE_LOG2:0] kept;
  logic [7:0] lost_count, broken_count;  // stay at the highest number there is
  uart_receiver #(.CLOCKS(CLOCKS)) the_receiver (
      .clk, .rst, .rx, .valid(came), .data(came_data), .broken, .quiet(receiver_quiet)
  );
  fifo #(.LOG2(RECEIVE_LOG2)) from_line (
      .clk, .rst, .put(came), .put_data(came_data), .full, .take(waiting && decodes), .data(waiting_data), .there(waiting), .count(kept)
  );
  cobs_decoder the_decoder (
      .clk, .rst, .valid(waiting), .data(waiting_data), .ready(decodes), .there, .symbol, .ends, .bad, .take
  );
  assign hold = kept[RECEIVE_LOG2] || &kept[RECEIVE_LOG2-1:4];
  assign take = reg_valid && !reg_write && reg_addr == SYMBOL && there;

  always_ff @(posedge clk) begin
    if (rst) begin
      lost_count   <= 8'd0;
      broken_count <= 8'd0;
    end else begin
      if (came && full && !(&lost_count)) lost_count <= lost_count + 8'd1;
      if (broken && !(&broken_count)) broken_count <= broken_count + 8'd1;
    end
  end

  // -- onto the line ---------------------------------------------------------------------------------------------------
  logic puts, encodes, encoded, takes_encoded, out_full, out_there, sends;
  logic [7:0] encoded_data, out_data;
  logic [9:0] out_count;
  assign puts = reg_valid && reg_write && (reg_addr == BYTE || reg_addr == FINISH);
  assign takes_encoded = !out_full;
  cobs_encoder the_encoder (
      .clk, .rst, .valid(puts), .finish(reg_addr == FINISH), .data(reg_wdata[7:0]), .ready(encodes),
      .out_valid(encoded), .out_data(encoded_data), .out_ready(takes_encoded)
  );
  fifo #(.LOG2(9)) to_line (
      .clk, .rst, .put(encoded), .put_data(encoded_data), .full(out_full), .take(out_there && sends), .data(out_data), .there(out_there),
      .count(out_count)
  );
  uart_transmitter #(.CLOCKS(CLOCKS)) the_transmitter (
      .clk, .rst, .valid(out_there), .data(out_data), .ready(sends), .tx
  );

  // -- registers -------------------------------------------------------------------------------------------------------
  assign reg_ready = !puts || encodes;
  assign quiet = receiver_quiet && !came && !waiting && kept == '0 && !there && !encoded && !out_there && out_count == '0 && sends;
  always_comb begin
    case (reg_addr)
      SYMBOL: reg_rdata = {!there, 21'd0, bad && there, ends && there, symbol};
      COUNTS: reg_rdata = {16'd0, broken_count, lost_count};
      default: reg_rdata = 32'd0;
    endcase
  end

`ifdef ASSERTIONS
  logic was_lost;
  logic [7:0] lost_before;
  always_ff @(posedge clk) begin
    was_lost <= !rst && came && full;
    lost_before <= lost_count;
    if (!rst && was_lost) a_byte_that_does_not_fit_is_counted : assert (lost_count != lost_before || &lost_before);
  end
`endif
endmodule

// Bytes onto a serial line: 8 bits, no parity, one stop bit, CLOCKS clocks a bit.
module uart_transmitter #(
    parameter integer CLOCKS = 4
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       valid,
    input  logic [7:0] data,
    output logic       ready,
    output logic       tx
);
  localparam integer WIDTH = $clog2(CLOCKS + 1);
  localparam logic [WIDTH-1:0] WHOLE = WIDTH'(CLOCKS - 1);

  logic [8:0] bits;
  logic [3:0] left;
  logic [WIDTH-1:0] wait_clocks;
  assign ready = left == 4'd0;
  initial tx = 1'b1;  // before the first clock too

  always_ff @(posedge clk) begin
    if (rst) begin
      tx <= 1'b1;
      left <= 4'd0;
      wait_clocks <= '0;
    end else if (left == 4'd0) begin
      if (valid) begin
        bits <= {1'b1, data};
        left <= 4'd10;
        wait_clocks <= WHOLE;
        tx <= 1'b0;
      end
    end else if (wait_clocks != '0) begin
      wait_clocks <= wait_clocks - 1'b1;
    end else begin
      wait_clocks <= WHOLE;
      left <= left - 4'd1;
      if (left != 4'd1) tx <= bits[0];
      bits <= {1'b1, bits[8:1]};
    end
  end
endmodule

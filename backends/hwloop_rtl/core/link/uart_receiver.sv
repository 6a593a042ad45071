// Bytes from a serial line: 8 bits, no parity, one stop bit, CLOCKS clocks a bit (4 at least). Each bit is looked at in its middle.
module uart_receiver #(
    parameter integer CLOCKS = 4
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       rx,
    output logic       valid,   // for one clock, with `data`
    output logic [7:0] data,
    output logic       broken,  // for one clock: a byte without its stop bit, which is dropped
    output logic       quiet    // no byte is on its way
);
  localparam integer WIDTH = $clog2(CLOCKS + 1);
  localparam logic [WIDTH-1:0] WHOLE = WIDTH'(CLOCKS - 1);
  localparam logic [WIDTH-1:0] HALF = WIDTH'(CLOCKS / 2 - 1);

  logic [2:0] seen;  // the line through two registers, since it follows another clock, and one for its edge
  logic [3:0] left;  // bits still to come, the stop bit too; 0: waiting for a start bit
  logic [WIDTH-1:0] wait_clocks;
  assign quiet = left == 4'd0 && seen == 3'b111 && rx;

  always_ff @(posedge clk) begin
    valid  <= 1'b0;
    broken <= 1'b0;
    if (rst) begin
      seen <= 3'b111;
      left <= 4'd0;
      wait_clocks <= '0;
    end else begin
      seen <= {seen[1:0], rx};
      if (left == 4'd0) begin
        if (seen[2:1] == 2'b10) begin
          left <= 4'd10;
          wait_clocks <= HALF;
        end
      end else if (wait_clocks != '0) begin
        wait_clocks <= wait_clocks - 1'b1;
      end else begin
        wait_clocks <= WHOLE;
        left <= left - 4'd1;
        if (left == 4'd10) begin
          if (seen[1]) left <= 4'd0;  // a start bit that is gone in its middle was none
        end else if (left == 4'd1) begin
          valid  <= seen[1];
          broken <= !seen[1];
        end else begin
          data <= {seen[1], data[7:1]};
        end
      end
    end
  end
endmodule

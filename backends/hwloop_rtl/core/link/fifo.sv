// Bytes in the order in which they came, in block RAM; 2^LOG2 of them. A byte that is offered while it is full is not taken:
// who offers it sees `full` and waits, or counts it as lost. What is written can be read from the next clock but one on.
module fifo #(
    parameter integer LOG2  = 9,
    parameter integer WIDTH = 8
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             put,
    input  logic [WIDTH-1:0] put_data,
    output logic             full,
    input  logic             take,     // only where `there`
    output logic [WIDTH-1:0] data,     // the oldest, where `there`
    output logic             there,
    output logic [LOG2:0]    count     // in memory: the one that is ready at `data` aside
);
  // what is read was written before: synthesis need not care which comes first in one clock
  (* no_rw_check *) logic [WIDTH-1:0] bytes[0:(1<<LOG2)-1];
  logic [LOG2:0] head, tail;
  logic empty, fetch;
  assign count = head - tail;
  assign full = count[LOG2];
  assign empty = count == '0;
  // the read port of block RAM has a register of its own: it holds the oldest byte
  assign fetch = !empty && (!there || take);

  always_ff @(posedge clk) begin
    if (put && !full) bytes[head[LOG2-1:0]] <= put_data;
  end
  always_ff @(posedge clk) begin
    if (fetch) data <= bytes[tail[LOG2-1:0]];
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      head  <= '0;
      tail  <= '0;
      there <= 1'b0;
    end else begin
      if (put && !full) head <= head + 1'b1;
      if (fetch) tail <= tail + 1'b1;
      if (fetch) there <= 1'b1;
      else if (take) there <= 1'b0;
    end
  end

`ifdef ASSERTIONS
  always_ff @(posedge clk) begin
    if (!rst) begin
      never_more_than_fits : assert (count <= (1 << LOG2));
      nothing_is_taken_where_nothing_is : assert (!take || there);
    end
  end
`endif
endmodule

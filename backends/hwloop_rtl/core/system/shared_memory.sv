// Processor and neuron core share one memory, request by request: who had it last lets the other go first. A request keeps the memory
// until it is answered.
module shared_memory (
    input  logic        clk,
    input  logic        rst,
    input  logic        a_valid, a_write,
    input  logic [31:0] a_addr, a_wdata,
    input  logic [ 3:0] a_wstrb,
    output logic        a_ready,
    input  logic        b_valid, b_write,
    input  logic [31:0] b_addr, b_wdata,
    input  logic [ 3:0] b_wstrb,
    output logic        b_ready,
    output logic        valid, write,
    output logic [31:0] addr, wdata,
    output logic [ 3:0] wstrb,
    input  logic        ready
);
  logic of_b, last_b, held;  // whose request it is; whose the last one was; whether it waits for its answer
  always_comb begin
    if (held) of_b = last_b;
    else of_b = b_valid && (!a_valid || !last_b);
  end
  assign valid = of_b ? b_valid : a_valid;
  assign write = of_b ? b_write : a_write;
  assign addr = of_b ? b_addr : a_addr;
  assign wdata = of_b ? b_wdata : a_wdata;
  assign wstrb = of_b ? b_wstrb : a_wstrb;
  assign a_ready = ready && !of_b;
  assign b_ready = ready && of_b;

  always_ff @(posedge clk) begin
    if (rst) begin
      held   <= 1'b0;
      last_b <= 1'b0;
    end else begin
      held <= valid && !ready;
      if (valid) last_b <= of_b;
    end
  end

`ifdef ASSERTIONS
  always_ff @(posedge clk) begin
    if (!rst) begin
      one_is_answered : assert (!(a_ready && b_ready));
      none_is_answered_that_did_not_ask : assert ((!a_ready || a_valid) && (!b_ready || b_valid));
    end
  end
`endif
endmodule

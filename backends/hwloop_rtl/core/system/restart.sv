// Starts the system: after power came, after the button, and after the processor stopped at what is no instruction. The host then
// meets another boot id, and uploads again. What a boot id is made of: `seed`, which a simulation gives, and the clock at which the
// first frame came, which on an FPGA is as good as drawn by chance: nobody sends it at the same 12 millionth of a second twice.
module restart (
    input  logic clk,
    input  logic button,   // starts it anew while it is 1
    input  logic stopped,  // the processor
    output logic rst
);
  logic [5:0] left = 6'd63;
  assign rst = left != 6'd0;
  always_ff @(posedge clk) begin
    if (button || (stopped && !rst)) left <= 6'd63;
    else if (rst) left <= left - 6'd1;
  end
endmodule

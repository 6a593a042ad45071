// The memory in block RAM: 2^LOG2 bytes in words of four, filled from the file FIRMWARE (words in hexadecimal) when the chip starts.
// A write takes one clock, a read two. `hold` makes whoever asks wait longer: simulations draw it by chance.
module ram_block #(
    parameter integer LOG2 = 16,
    parameter FIRMWARE = "firmware.hex"
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        hold,
    input  logic        valid,
    input  logic        write,
    input  logic [31:0] addr,
    input  logic [31:0] wdata,
    input  logic [ 3:0] wstrb,
    output logic        ready,
    output logic [31:0] rdata
);
  (* no_rw_check *) logic [31:0] words[0:(1<<(LOG2-2))-1];
  logic [LOG2-3:0] index;
  logic there;
  assign index = addr[LOG2-1:2];
  assign ready = !hold && valid && (write || there);

  initial $readmemh(FIRMWARE, words);

  always_ff @(posedge clk) begin
    if (valid && write && !hold) begin
      if (wstrb[0]) words[index][7:0] <= wdata[7:0];
      if (wstrb[1]) words[index][15:8] <= wdata[15:8];
      if (wstrb[2]) words[index][23:16] <= wdata[23:16];
      if (wstrb[3]) words[index][31:24] <= wdata[31:24];
    end
  end
  always_ff @(posedge clk) begin
    if (valid && !write) rdata <= words[index];
  end
  always_ff @(posedge clk) begin
    there <= !rst && valid && !write && !ready;
  end
endmodule

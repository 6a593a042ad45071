// Where a chip whose memory is empty at power-up gets its firmware: a small program in block RAM (firmware/boot.S), and the three wires of
// a serial flash.
//   000..1FC ROM   read
//   200 FLASH      write: bit 0 clock, bit 1 data to the flash, bit 2 deselect; read: bit 0 data from it
module boot #(
    parameter PROGRAM = "boot.hex"
) (
    input  logic        clk,
    input  logic        rst,
    input  logic        reg_valid,
    input  logic        reg_write,
    input  logic [ 9:0] reg_addr,
    input  logic [31:0] reg_wdata,
    output logic        reg_ready,
    output logic [31:0] reg_rdata,
    output logic        flash_select_n,
    output logic        flash_clock,
    output logic        flash_out,
    input  logic        flash_in
);
  logic [31:0] words[0:127];
  logic [31:0] word;
  logic there, of_flash;
  logic [1:0] seen;
  assign of_flash = reg_addr[9];
  assign reg_ready = of_flash || reg_write || there;
  assign reg_rdata = of_flash ? {31'd0, seen[1]} : word;

  initial $readmemh(PROGRAM, words);
  initial {flash_select_n, flash_clock, flash_out} = 3'b100;

  always_ff @(posedge clk) begin
    if (reg_valid) word <= words[reg_addr[8:2]];
  end
  always_ff @(posedge clk) begin
    there <= !rst && reg_valid && !reg_write && !of_flash && !there;
    seen  <= {seen[0], flash_in};
    if (rst) begin
      flash_select_n <= 1'b1;
      flash_clock <= 1'b0;
      flash_out <= 1'b0;
    end else if (reg_valid && reg_write && of_flash) begin
      {flash_select_n, flash_out, flash_clock} <= reg_wdata[2:0];
    end
  end
endmodule

// What stands around the chip on a board, and parts of an iCE40, as their data sheets have them.

// A serial flash that knows READ DATA (03) alone; `bytes` stand from AT on. It says zeros while it sleeps: until it is woken (AB).
module flash_model #(
    parameter integer AT = 'h100000,
    parameter integer BYTES = 28672
) (
    input  logic clk,
    input  logic select_n,
    input  logic clock,
    input  logic in,
    output logic out
);
  logic [7:0] bytes[0:BYTES-1];
  initial $readmemh("flash.hex", bytes);
  logic was, awake = 1'b0;
  logic [31:0] command, place;
  logic [31:0] count;  // bits of the command that came; then bits that went
  logic [7:0] one;
  assign place = {8'd0, command[23:0]} + ((count - 32) >> 3) - AT;
  assign one = bytes[place[14:0]];
  always_ff @(posedge clk) begin
    was <= clock;
    if (select_n) begin
      if (count == 8 && command[7:0] == 8'hAB) awake <= 1'b1;
      count <= 0;
      out <= 1'b0;
    end else if (clock && !was) begin
      if (count < 32) command <= {command[30:0], in};
      count <= count + 1;
    end else if (!clock && was && count >= 32 && command[31:24] == 8'h03 && awake) begin
      out <= one[3'd7-count[2:0]];
    end
  end
endmodule

module SB_SPRAM256KA (
    input  logic        CLOCK, WREN, CHIPSELECT, STANDBY, SLEEP, POWEROFF,
    input  logic [13:0] ADDRESS,
    input  logic [15:0] DATAIN,
    input  logic [ 3:0] MASKWREN,
    output logic [15:0] DATAOUT
);
  logic [15:0] words[0:16383];
  integer k;
  always_ff @(posedge CLOCK) begin
    if (CHIPSELECT && !STANDBY && !SLEEP && POWEROFF) begin
      if (!WREN) DATAOUT <= words[ADDRESS];
      else for (k = 0; k < 4; k = k + 1) if (MASKWREN[k]) words[ADDRESS][4*k+:4] <= DATAIN[4*k+:4];
    end
  end
endmodule

module SB_GB (
    input  logic USER_SIGNAL_TO_GLOBAL_BUFFER,
    output logic GLOBAL_BUFFER_OUTPUT
);
  assign GLOBAL_BUFFER_OUTPUT = USER_SIGNAL_TO_GLOBAL_BUFFER;
endmodule

module SB_IO #(
    parameter [5:0] PIN_TYPE = 6'd0
) (
    inout  wire  PACKAGE_PIN,
    input  logic OUTPUT_ENABLE, D_OUT_0,
    output logic D_IN_0
);
  assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
  assign D_IN_0 = PACKAGE_PIN;
endmodule

// An asynchronous SRAM of 16 bits: what stands at its pins when WE rises is written; `clashes` where it and the FPGA drive at once.
module sram_model (
    input  logic        clk,
    input  logic [17:0] address,
    inout  wire  [15:0] data,
    input  logic        cs_n, oe_n, we_n
);
  logic [15:0] words[0:262143];
  logic [15:0] held;
  logic [17:0] held_at;
  logic writing = 1'b0;
  assign data = !cs_n && !oe_n && we_n ? words[address] : 16'bz;
  always_ff @(posedge clk) begin
    writing <= !we_n && !cs_n;
    held <= data;
    held_at <= address;
    if (writing && we_n) words[held_at] <= held;
    if (writing) address_stands_still_while_it_writes : assert (held_at == address);
    if (!we_n) it_does_not_drive_while_it_is_written : assert (oe_n);
  end
endmodule

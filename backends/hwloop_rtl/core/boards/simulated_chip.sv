// The chip with its memory in block RAM: what is simulated, and what an FPGA with that much block RAM holds.
module simulated_chip #(
    parameter integer MEMORY_LOG2 = 16,
    parameter integer CLOCKS = 4,
    parameter integer HZ = 12000000,
    parameter SHA = 1,
    parameter NEURON_CORE = 1,
    parameter FIRMWARE = "firmware.hex"
) (
    input  logic        clk,
    input  logic        button,
    input  logic        rx,
    output logic        tx,
    output logic        hold_sender,
    input  logic [31:0] seed,
    input  logic        stall,        // the memory makes whoever asks wait
    output logic        idle,
    output logic        busy,
    output logic        stopped,
    output logic [31:0] pc
);
  logic valid, write, ready, rst;
  logic [31:0] addr, wdata, memory_rdata;
  logic [3:0] wstrb;
  hwloop_soc #(
      .MEMORY_LOG2(MEMORY_LOG2), .CLOCKS(CLOCKS), .HZ(HZ), .SHA(SHA), .NEURON_CORE(NEURON_CORE)
  ) the_soc (
      .clk, .button, .rx, .tx, .hold_sender, .seed, .idle, .busy, .stopped, .pc, .flash_select_n(), .flash_clock(), .flash_out(),
      .flash_in(1'b0), .valid, .write, .addr, .wdata, .wstrb, .ready, .memory_rdata, .rst
  );
  ram_block #(.LOG2(MEMORY_LOG2), .FIRMWARE(FIRMWARE)) the_memory (
      .clk, .rst, .hold(stall), .valid, .write, .addr, .wdata, .wstrb, .ready, .rdata(memory_rdata)
  );
endmodule

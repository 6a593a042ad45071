// The whole chip but its memory: processor, link, digests, timer and neuron core. docs/rtl.md draws it.
//
//   00000000 memory, 2^MEMORY_LOG2 bytes: firmware, program, events, working memory
//   80000000 link, 80000100 digests, 80000200 system, 80000300 neuron core; where BOOT is 1, boot behind the memory
//
// Registers of the system: 00 MILLISECONDS, 04 LEFT (clocks to the next one), 08 SEED of the boot id.
module hwloop_soc #(
    parameter integer MEMORY_LOG2 = 16,
    parameter integer CLOCKS = 4,          // of a bit on the line
    parameter integer RECEIVE_LOG2 = 11,
    parameter integer HZ = 12000000,
    parameter SHA = 1,
    parameter NEURON_CORE = 1,
    parameter integer UNIT_BITS = 32,      // of a number of an input, 16 or more; firmware says in INFO how many there are
    parameter integer DSP = 1,             // whether products of the neuron core take multipliers of the FPGA
    parameter FAST = 1,                    // 1: shifts and CRC at once; 0: bit by bit, in fewer cells
    parameter BOOT = 0,                    // 1: firmware comes from a serial flash; 0: it stands in memory from the start
    parameter BOOT_PROGRAM = "boot.hex"
) (
    input  logic        clk,
    input  logic        button,       // starts the system anew
    input  logic        rx,
    output logic        tx,
    output logic        hold_sender,
    input  logic [31:0] seed,         // of the boot id: 0 on an FPGA
    output logic        idle,         // nothing to do before a byte comes
    output logic        busy,         // the neuron core runs
    output logic        stopped,      // the processor met what is no instruction; the system starts anew
    output logic [31:0] pc,
    output logic        flash_select_n,
    output logic        flash_clock,
    output logic        flash_out,
    input  logic        flash_in,
    output logic        valid,        // one request to memory, held until it is answered: `ready`
    output logic        write,
    output logic [31:0] addr,
    output logic [31:0] wdata,
    output logic [ 3:0] wstrb,
    input  logic        ready,
    input  logic [31:0] memory_rdata,
    output logic        rst           // of all, the memory's state too
);
  logic link_hold;
  restart the_restart (.clk, .button, .stopped, .rst);
  assign hold_sender = link_hold || rst;

  // -- processor -------------------------------------------------------------------------------------------------------
  logic cpu_valid, cpu_write, cpu_ready, cpu_fault, wake, woken, sleeping;
  logic [31:0] cpu_addr, cpu_wdata, cpu_rdata;
  logic [3:0] cpu_wstrb;
  cpu #(.START(BOOT != 0 ? 32'd1 << MEMORY_LOG2 : 32'd0), .PC_BITS(MEMORY_LOG2 + 1), .BARREL(FAST)) the_cpu (
      .clk, .rst, .mem_valid(cpu_valid), .mem_write(cpu_write), .mem_addr(cpu_addr), .mem_wdata(cpu_wdata), .mem_wstrb(cpu_wstrb),
      .mem_ready(cpu_ready), .mem_rdata(cpu_rdata), .mem_fault(cpu_fault), .wake, .woken, .sleeping, .stopped, .pc
  );

  // what the processor asks for: memory or registers; words alone of these, and nothing where nothing is
  logic to_memory, to_registers, to_boot;
  assign to_memory = cpu_valid && cpu_addr[31:MEMORY_LOG2] == '0;
  assign to_registers = cpu_valid && cpu_addr[31:10] == 22'h200000;
  assign to_boot = BOOT != 0 && cpu_valid && cpu_addr[31:10] == 22'd1 << (MEMORY_LOG2 - 10);
  assign cpu_fault = cpu_valid && !to_memory && !to_registers && !to_boot;

  // -- memory ----------------------------------------------------------------------------------------------------------
  logic core_valid, core_write, core_ready, memory_for_cpu;
  logic [31:0] core_addr, core_wdata;
  logic [3:0] core_wstrb;
  shared_memory the_sharing (
      .clk, .rst,
      .a_valid(to_memory), .a_write(cpu_write), .a_addr(cpu_addr), .a_wdata(cpu_wdata), .a_wstrb(cpu_wstrb), .a_ready(memory_for_cpu),
      .b_valid(core_valid), .b_write(core_write), .b_addr(core_addr), .b_wdata(core_wdata), .b_wstrb(core_wstrb), .b_ready(core_ready),
      .valid, .write, .addr, .wdata, .wstrb, .ready
  );

  // -- registers -------------------------------------------------------------------------------------------------------
  logic [3:0] chosen;
  logic link_ready, digests_ready, link_there, link_quiet;
  logic [31:0] link_rdata, digests_rdata, system_rdata, core_rdata;
  assign chosen = to_registers ? 4'd1 << cpu_addr[9:8] : 4'd0;

  link #(.CLOCKS(CLOCKS), .RECEIVE_LOG2(RECEIVE_LOG2)) the_link (
      .clk, .rst, .rx, .tx, .hold(link_hold), .reg_valid(chosen[0]), .reg_write(cpu_write), .reg_addr(cpu_addr[7:0]),
      .reg_wdata(cpu_wdata), .reg_ready(link_ready), .reg_rdata(link_rdata), .there(link_there), .quiet(link_quiet)
  );
  digests #(.SHA(SHA), .CRC_BITS(FAST != 0 ? 8 : 1)) the_digests (
      .clk, .rst, .reg_valid(chosen[1]), .reg_write(cpu_write), .reg_addr(cpu_addr[7:0]), .reg_wdata(cpu_wdata),
      .reg_ready(digests_ready), .reg_rdata(digests_rdata)
  );

  logic passed;
  logic [31:0] milliseconds;
  logic [15:0] left;
  timer #(.HZ(HZ)) the_timer (.clk, .rst, .passed, .milliseconds, .left);
  always_comb begin
    case (cpu_addr[3:2])
      2'd0: system_rdata = milliseconds;
      2'd1: system_rdata = {16'd0, left};
      default: system_rdata = seed;
    endcase
  end

  always_comb begin
    cpu_ready = memory_for_cpu;
    cpu_rdata = memory_rdata;
    if (to_boot) {cpu_ready, cpu_rdata} = {boot_ready, boot_rdata};
    if (to_registers) begin
      case (cpu_addr[9:8])
        2'd0: {cpu_ready, cpu_rdata} = {link_ready, link_rdata};
        2'd1: {cpu_ready, cpu_rdata} = {digests_ready, digests_rdata};
        2'd2: {cpu_ready, cpu_rdata} = {1'b1, system_rdata};
        default: {cpu_ready, cpu_rdata} = {1'b1, core_rdata};
      endcase
    end
  end

  // -- neuron core -----------------------------------------------------------------------------------------------------
  generate
    if (NEURON_CORE != 0) begin : with_core
      // while the processor does not ask, its STATUS is looked at: bit 0 is busy
      localparam logic [7:0] STATUS = 8'h04;
      neuron_core #(.ADDR_BITS(MEMORY_LOG2), .UNIT_BITS(UNIT_BITS), .DSP(DSP)) the_core (
          .clk, .rst, .mem_valid(core_valid), .mem_write(core_write), .mem_addr(core_addr), .mem_wdata(core_wdata),
          .mem_wstrb(core_wstrb), .mem_ready(core_ready), .mem_rdata(memory_rdata),
          .reg_valid(chosen[3]), .reg_write(cpu_write), .reg_addr(chosen[3] ? cpu_addr[7:0] : STATUS), .reg_wdata(cpu_wdata),
          .reg_rdata(core_rdata)
      );
      always_ff @(posedge clk) begin
        if (rst) busy <= 1'b0;
        else if (!chosen[3]) busy <= core_rdata[0];
      end
    end else begin : without_core
      assign {core_valid, core_write, core_addr, core_wdata, core_wstrb, core_rdata} = '0;
      assign busy = 1'b0;
    end
  endgenerate

  // -- boot ------------------------------------------------------------------------------------------------------------
  logic boot_ready;
  logic [31:0] boot_rdata;
  generate
    if (BOOT != 0) begin : with_boot
      boot #(.PROGRAM(BOOT_PROGRAM)) the_boot (
          .clk, .rst, .reg_valid(to_boot), .reg_write(cpu_write), .reg_addr(cpu_addr[9:0]), .reg_wdata(cpu_wdata),
          .reg_ready(boot_ready), .reg_rdata(boot_rdata), .flash_select_n, .flash_clock, .flash_out, .flash_in
      );
    end else begin : without_boot
      assign {boot_ready, boot_rdata, flash_select_n, flash_clock, flash_out} = {1'b1, 32'd0, 3'b100};
    end
  endgenerate

  // -- sleep -----------------------------------------------------------------------------------------------------------
  // a byte, a millisecond, or the end of a sample wakes the processor; what came before it slept is not forgotten
  logic due, was_busy;
  assign wake = link_there || due;
  assign idle = sleeping && !wake && !busy && !was_busy && link_quiet;
  always_ff @(posedge clk) begin
    was_busy <= busy;
    if (rst) due <= 1'b0;
    else if (passed || (was_busy && !busy)) due <= 1'b1;
    else if (woken) due <= 1'b0;
  end
endmodule

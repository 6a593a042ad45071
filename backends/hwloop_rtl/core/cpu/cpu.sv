// A small RV32I processor: one instruction at a time, in 3 clocks (loads and stores 5; more where memory makes it wait).
//
// FETCH asks memory for the instruction, EXECUTE does it, MEMORY moves a word for a load or store. WFI waits for `wake`. What is no
// instruction, an access that is not aligned or that memory refuses (`mem_fault`), ECALL and EBREAK end in STOPPED: the system
// then starts anew (see restart.sv). FENCE does nothing: there is one memory and no cache.
module cpu #(
    parameter logic [31:0] START = 32'd0,  // address of the first instruction
    parameter integer PC_BITS = 32,        // of an address of an instruction: beyond them there is none
    parameter BARREL = 1                   // shifts in no time, or place by place: see shifter.sv
) (
    input  logic        clk,
    input  logic        rst,
    output logic        mem_valid,
    output logic        mem_write,
    output logic [31:0] mem_addr,
    output logic [31:0] mem_wdata,
    output logic [ 3:0] mem_wstrb,
    input  logic        mem_ready,
    input  logic [31:0] mem_rdata,
    input  logic        mem_fault,
    input  logic        wake,
    output logic        woken,      // the WFI goes on: whoever holds `wake` may forget it
    output logic        sleeping,
    output logic        stopped,
    output logic [31:0] pc
);
  localparam logic [1:0] FETCH = 0, EXECUTE = 1, MEMORY = 2, STOPPED = 3;
  localparam logic [4:0] LOAD = 5'b00000, FENCE = 5'b00011, OP_IMM = 5'b00100, AUIPC = 5'b00101, STORE = 5'b01000,
      OP = 5'b01100, LUI = 5'b01101, BRANCH = 5'b11000, JALR = 5'b11001, JAL = 5'b11011, SYSTEM = 5'b11100;
  localparam logic [11:0] WFI = 12'h105;

  logic [1:0] state;
  // of the instruction that was fetched: its parts, and the number in it
  logic [31:0] address, number, fetched_number;
  logic [4:0] opcode, result_index;
  logic [2:0] funct3;
  logic whole, astray;  // its lowest bits are those of a word; where it goes on there is no memory

  // -- what the instruction works on ---------------------------------------------------------------------------------
  logic [31:0] first, second, result, sum, to_memory, loaded, value;
  logic [3:0] strobes;
  logic less, below, misaligned, writes, shifts, shifted;
  logic by_register, computes, subtract;
  logic [31:0] operand, onto;
  assign by_register = opcode == OP || opcode == BRANCH;
  assign computes = opcode == OP || opcode == OP_IMM;
  assign operand = by_register ? second : number;
  assign subtract = opcode == BRANCH || (opcode == OP && number[10]) || (computes && funct3[2:1] == 2'b01);
  assign shifts = computes && funct3[1:0] == 2'b01;

  registers the_registers (
      .clk, .first, .second, .value, .writes,
      .reads(state == FETCH && mem_ready),
      .first_index(mem_rdata[19:15]),
      .second_index(mem_rdata[24:20]),
      .write_index(result_index)
  );
  immediate the_immediate (.instruction(mem_rdata), .value(fetched_number));
  alu the_alu (
      .a(first),
      .b(operand),
      .operation(funct3),
      .subtract, .result, .sum, .less, .below
  );
  shifter #(.BARREL(BARREL)) the_shifter (
      .clk, .rst, .valid(state == EXECUTE && shifts), .from(first), .places(operand[4:0]), .left(!funct3[2]), .signs(number[10]),
      .ready(shifted), .onto
  );
  lanes the_lanes (
      .width(funct3),
      .place(address[1:0]),
      .stored(second),
      .from_memory(mem_rdata),
      .to_memory, .strobes, .loaded, .misaligned
  );

  // -- where it goes on ----------------------------------------------------------------------------------------------
  logic [31:0] after, aside, next;
  logic taken, jumps;
  assign after = 32'({pc[PC_BITS-1:2] + 1'b1, 2'b00});
  assign aside = pc + number;
  always_comb begin
    case (funct3[2:1])
      2'b00: taken = (first == second) ^ funct3[0];
      2'b10: taken = less ^ funct3[0];
      2'b11: taken = below ^ funct3[0];
      default: taken = 1'b0;
    endcase
    jumps = opcode == JAL || (opcode == BRANCH && taken);
    next = after;
    if (opcode == JALR) next = {sum[31:1], 1'b0};
    else if (jumps) next = aside;
  end

  // -- what may be done ----------------------------------------------------------------------------------------------
  logic known, waits, stores, refused;
  always_comb begin
    case (opcode)
      LUI, AUIPC, JAL, FENCE: known = 1'b1;
      JALR: known = funct3 == 3'd0;
      BRANCH: known = funct3[2:1] != 2'b01;
      LOAD, STORE: known = 1'b1;
      OP_IMM: known = funct3[1:0] != 2'b01 || ({number[11], number[9:5]} == 6'd0 && (!number[10] || funct3[2]));
      OP: known = {number[11], number[9:5]} == 6'd0 && (!number[10] || funct3 == 3'd0 || funct3 == 3'd5);
      SYSTEM: known = funct3 == 3'd0 && number[11:0] == WFI;
      default: known = 1'b0;
    endcase
    known = known && whole;
    waits = (opcode == SYSTEM && !wake) || (shifts && !shifted);
  end

  // -- one instruction after the other -------------------------------------------------------------------------------
  assign sleeping = state == EXECUTE && opcode == SYSTEM && known && !wake;
  assign woken = state == EXECUTE && opcode == SYSTEM && wake;
  assign stopped = state == STOPPED;
  assign stores = opcode == STORE;
  assign refused = misaligned || (stores && funct3[2]);
  assign mem_valid = (state == FETCH && !pc[1] && !astray) || (state == MEMORY && !refused);
  assign mem_write = state == MEMORY && stores;
  assign mem_addr = state == MEMORY ? {address[31:2], 2'b00} : pc;
  assign mem_wdata = to_memory;
  assign mem_wstrb = mem_write ? strobes : 4'd0;

  always_comb begin
    writes = 1'b0;
    value = result;
    if (state == MEMORY) begin
      writes = mem_ready && opcode == LOAD;
      value = loaded;
    end else begin
      case (opcode)
        LUI: value = number;
        AUIPC: value = aside;
        JAL, JALR: value = after;
        default: value = shifts ? onto : result;
      endcase
      // also of what is not allowed: a processor that stops has no more use for its registers
      writes = state == EXECUTE && !waits &&
          (opcode == LUI || opcode == AUIPC || opcode == JAL || opcode == JALR || opcode == OP || opcode == OP_IMM);
    end
  end

  always_ff @(posedge clk) begin
    if (rst) begin
      state <= FETCH;
      pc <= 32'(START[PC_BITS-1:0]);
      astray <= 1'b0;
    end else begin
      case (state)
        FETCH:
        if (mem_fault || pc[1] || astray) state <= STOPPED;
        else if (mem_ready) begin
          {funct3, result_index, opcode} <= mem_rdata[14:2];
          whole <= mem_rdata[1:0] == 2'b11;
          number <= fetched_number;
          state <= EXECUTE;
        end
        EXECUTE: begin
          address <= sum;
          if (!known) state <= STOPPED;
          else if (opcode == LOAD || opcode == STORE) state <= MEMORY;
          else if (!waits) begin
            pc <= 32'(next[PC_BITS-1:0]);
            astray <= PC_BITS != 32 && (next >> PC_BITS) != 32'd0;
            state <= FETCH;
          end
        end
        MEMORY:
        if (mem_fault || refused) state <= STOPPED;
        else if (mem_ready) begin
          pc <= after;
          state <= FETCH;
        end
        default: ;
      endcase
    end
  end

`ifdef ASSERTIONS
  always_ff @(posedge clk) begin
    if (!rst) begin
      the_pc_is_even : assert (!pc[0]);
      a_store_has_strobes : assert (!mem_write || mem_wstrb != 4'd0);
    end
  end
`endif
endmodule

// The memory in an asynchronous SRAM of 16 bits outside of the FPGA, whose byte lanes are both on: 2^LOG2 bytes. What is asked for as a
// word takes two accesses; A read takes 4 clocks, a write 6 or 10. A half is read before it is written, whether that is needed or not.
// All pins come from registers. `drive` says when the data pins are the FPGA's: the pads' tristates stand in the board's file.
module ram_sram #(
    parameter integer LOG2 = 19
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             valid,
    input  logic             write,
    input  logic [     31:0] addr,
    input  logic [     31:0] wdata,
    input  logic [      3:0] wstrb,
    output logic             ready,
    output logic [     31:0] rdata,
    output logic [LOG2-2:0]  sram_addr,
    output logic [     15:0] sram_out,
    input  logic [     15:0] sram_in,
    output logic             sram_drive,
    output logic             sram_write_n,
    output logic             sram_read_n
);
  // READ: the address is out, its data come in; SETUP: address and data are out; PULSE: they are written; HOLD: they stay
  localparam logic [2:0] IDLE = 0, READ = 1, SETUP = 2, PULSE = 3, HOLD = 4, DONE = 5;
  logic [2:0] state;
  logic upper;
  logic [1:0] lanes;
  logic [15:0] given;
  assign lanes = upper ? wstrb[3:2] : wstrb[1:0];
  assign given = upper ? wdata[31:16] : wdata[15:0];
  assign ready = state == DONE;
  // before the first clock too, nothing is written and nobody drives
  initial {sram_write_n, sram_read_n, sram_drive} = 3'b110;

  always_ff @(posedge clk) begin
    if (rst) begin
      state <= IDLE;
      sram_write_n <= 1'b1;
      sram_read_n <= 1'b1;
      sram_drive <= 1'b0;
    end else begin
      case (state)
        IDLE: begin
          upper <= write && wstrb[1:0] == 2'b00;
          sram_addr <= {addr[LOG2-1:2], write && wstrb[1:0] == 2'b00};
          sram_read_n <= !valid;
          if (valid) state <= READ;
        end
        READ: begin  // of a write too: what stays as it is of a half
          if (upper) rdata[31:16] <= sram_in;
          else rdata[15:0] <= sram_in;
          if (write) begin
            sram_read_n <= 1'b1;
            sram_out[7:0] <= lanes[0] ? given[7:0] : sram_in[7:0];
            sram_out[15:8] <= lanes[1] ? given[15:8] : sram_in[15:8];
            state <= SETUP;
          end else begin
            upper <= 1'b1;
            sram_addr[0] <= 1'b1;
            if (upper) begin
              sram_read_n <= 1'b1;
              state <= DONE;
            end
          end
        end
        SETUP: begin
          sram_drive <= 1'b1;
          sram_write_n <= 1'b0;
          state <= PULSE;
        end
        PULSE: begin
          sram_write_n <= 1'b1;
          state <= HOLD;
        end
        HOLD: begin
          sram_drive <= 1'b0;
          if (!upper && wstrb[3:2] != 2'b00) begin
            upper <= 1'b1;
            sram_addr[0] <= 1'b1;
            sram_read_n <= 1'b0;
            state <= READ;
          end else begin
            state <= DONE;
          end
        end
        default: state <= IDLE;
      endcase
    end
  end
endmodule

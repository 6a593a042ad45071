// The register block: what the controller writes and reads. Registers that parts of the core use up live there: `load_...` hands
// them on.
module core_registers #(
    parameter int ADDR_BITS = 17,
    parameter int UNIT_BITS = 32,
    parameter int FIFO_BITS = 4,
    parameter int DSP       = 1
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 reg_valid,
    input  logic                 reg_write,
    input  logic [          7:0] reg_addr,
    input  logic [         31:0] reg_wdata,
    output logic [         31:0] reg_rdata,
    output logic [ADDR_BITS-3:0] image,
    output logic [ADDR_BITS-3:0] state_at,
    output logic [ADDR_BITS-3:0] wraps_table,
    output logic                 count_wraps,
    output logic                 wide,
    output logic [         31:0] n_ticks,
    output logic                 load_input,
    output logic                 load_count,
    output logic                 load_output,
    output logic                 load_limit,
    output logic                 start,
    output logic                 clear,         // everything to rest: abort, or bad input
    input  logic                 settled,       // no request to memory is left behind if everything stops now
    input  logic                 finished,
    input  logic                 overflow,
    input  logic                 bad_input,
    input  logic                 walked,
    input  logic [ADDR_BITS-2:0] count,
    input  logic [ADDR_BITS-2:0] lost,
    input  logic [         31:0] tick
);
    logic        busy, done, aborted, overflowed, bad, aborting, going_back;
    logic [47:0] cycles;
    logic [31:0] synapses;
    logic        put, control;

    assign put         = reg_valid && reg_write;
    assign control     = put && reg_addr[7:2] == 6'h00;
    assign load_input  = put && reg_addr[7:2] == 6'h04;
    assign load_count  = put && reg_addr[7:2] == 6'h05;
    assign load_output = put && reg_addr[7:2] == 6'h08;
    assign load_limit  = put && reg_addr[7:2] == 6'h09;
    assign start       = control && reg_wdata[0] && !busy;
    assign clear       = (aborting || going_back) && settled;

    always_ff @(posedge clk) begin
        if (rst) begin
            {image, state_at, wraps_table} <= '0;
            {count_wraps, wide} <= '0;
            n_ticks <= '0;
        end else if (put) begin
            case (reg_addr[7:2])
                6'h02: image <= reg_wdata[ADDR_BITS-1:2];
                6'h03: state_at <= reg_wdata[ADDR_BITS-1:2];
                6'h06: wide <= reg_wdata[2];
                6'h07: n_ticks <= reg_wdata;
                6'h0C: begin
                    wraps_table <= reg_wdata[ADDR_BITS-1:2];
                    count_wraps <= reg_wdata != 0;
                end
                default: ;
            endcase
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            {busy, done, overflowed, aborted, bad, aborting, going_back} <= '0;
        end else begin
            // what follows from it comes a cycle later: it would be a long way through the core
            going_back <= busy && !clear && (going_back || bad_input);
            aborting   <= busy && !clear && !finished && (aborting || (control && reg_wdata[1]));
            if (start) begin
                busy <= 1'b1;
                {done, overflowed, aborted, bad} <= '0;
            end else if (busy && (finished || clear)) begin
                busy       <= 1'b0;
                done       <= 1'b1;
                overflowed <= finished && overflow;
                bad        <= going_back;
                aborted    <= !finished && !going_back;
            end
        end
    end

    always_ff @(posedge clk) begin
        if (rst || start) begin
            cycles   <= '0;
            synapses <= '0;
        end else begin
            cycles   <= cycles + 48'(busy);
            synapses <= synapses + 32'(walked);
        end
    end

    always_comb begin
        case (reg_addr[7:2])
            6'h01: reg_rdata = {27'b0, bad, aborted, overflowed, done, busy};
            6'h0A: reg_rdata = 32'(count);
            6'h0B: reg_rdata = 32'(lost);
            6'h0D: reg_rdata = tick;
            6'h0E: reg_rdata = cycles[31:0];
            6'h0F: reg_rdata = {16'b0, cycles[47:32]};
            6'h10: reg_rdata = synapses;
            6'h11: reg_rdata = {8'd1, 1'b0, 6'(UNIT_BITS), 1'(DSP != 0), 8'(FIFO_BITS), 8'(ADDR_BITS)};
            default: reg_rdata = '0;
        endcase
    end
endmodule

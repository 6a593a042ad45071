// What happens when: header and entries of the image are read, the state is laid out and set, then tick by tick all populations are
// updated and all projections walked.
module tick_sequencer #(
    parameter int ADDR_BITS = 17
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 start,
    input  logic [ADDR_BITS-3:0] image,
    input  logic [ADDR_BITS-3:0] state_at,
    input  logic [         31:0] n_ticks,
    input  logic [ADDR_BITS-3:0] wraps_table,
    output logic                 finished,      // in its last cycle
    output logic [         31:0] tick,
    output logic [ADDR_BITS-3:0] wraps_at,
    // words of entries as they are read
    output logic                 population_word,
    output logic                 projection_word,
    output logic [          3:0] entry_word,
    output logic [ADDR_BITS-3:0] entry_place,
    output logic                 entry_there,
    // the population that is updated, or the target of the projection
    output logic [ADDR_BITS-3:0] n,
    output logic [ADDR_BITS-3:0] records,
    output logic [          6:0] depth,
    output logic [          6:0] row,
    output logic [          6:0] stride,
    output logic [ADDR_BITS-3:0] sums,
    // parts that are run
    output logic                 updating,      // populations, not projections
    output logic                 update_start,
    output logic                 fill_start,
    output logic [          6:0] fill_column,
    output logic                 fill_zeros,
    input  logic                 update_done,
    input  logic [ADDR_BITS-3:0] records_end,
    output logic                 walk_start,
    output logic                 clear_start,
    input  logic                 walk_done,
    input  logic [          6:0] own_depth,
    input  logic                 shifts_right,
    output logic                 input_start,
    output logic                 list_start,
    input  logic                 unit_valid,
    input  logic                 units_ended,
    output logic                 end_tick,
    input  logic                 spikes_written,
    input  logic                 overflow,
    // memory
    output logic                 mem_valid,
    output logic                 mem_write,
    output logic [ADDR_BITS-3:0] mem_addr,
    output logic [         31:0] mem_wdata,
    input  logic                 mem_ack,
    input  logic [         31:0] mem_rdata
);
    localparam int Places = ADDR_BITS - 2;

    typedef enum logic [2:0] {
        TABLE, DEPTHS, FILLS, CLEARS, UPDATES, SENDS
    } phase_t;
    typedef enum logic [4:0] {
        IDLE, HEADER, BEGIN, NEXT, ENTRY, ZERO_RECORDS, ZERO_DEPTH, LOOK_UP_N, READ_N, LOOK_UP, READ_RECORDS, READ_RING, COMPARE, NEW_DEPTH, PUT_RECORDS,
        RUN_FILL, FILLING, RUN, RUNNING, PUT_ROW, WRITING, SOURCE_START, SOURCE
    } state_t;
    phase_t phase;
    state_t state;

    // -- where it is ----------------------------------------------------------------------------------------------------------
    logic [      15:0] populations, projections, number;
    logic [      15:0] other;      // the source of the projection; later its target
    logic [Places-1:0] populations_at, projections_at;
    logic [Places-1:0] entry;      // word of the image that comes next
    logic [       3:0] word;       // its number in the header or entry
    logic [Places-1:0] look;       // word of the state's table, or of another entry
    logic [       6:0] column;     // of the records: list of spikes, ring, u, v
    logic              of_populations, from_input, last_number;

    assign of_populations = phase == FILLS || phase == UPDATES;
    assign last_number    = number + 16'd1 == (phase == TABLE || of_populations ? populations : projections);
    assign entry_word     = word;
    assign entry_place    = image + mem_rdata[ADDR_BITS-1:2];
    assign entry_there    = mem_rdata != 0;
    assign stride         = depth + 7'd3;
    assign wraps_at       = wraps_table + Places'(number);

    // -- requests -------------------------------------------------------------------------------------------------------------
    logic       at_entry, deeper;
    logic [6:0] row_after;

    assign at_entry  = state == HEADER || state == ENTRY;
    assign row_after = row + 7'd1 >= depth ? 7'd0 : row + 7'd1;
    assign mem_addr  = !mem_valid ? '0 : at_entry ? entry : look;

    always_comb begin
        mem_valid = 1'b1;
        mem_write = 1'b0;
        mem_wdata = '0;
        case (state)
            HEADER, ENTRY, READ_N, READ_RECORDS, READ_RING: ;
            ZERO_RECORDS, ZERO_DEPTH: mem_write = 1'b1;
            NEW_DEPTH: begin
                mem_valid = deeper;
                mem_write = deeper;
                mem_wdata = deeper ? 32'(own_depth) : '0;
            end
            PUT_RECORDS: begin
                mem_write = 1'b1;
                mem_wdata = 32'({sums, 2'b00});
            end
            PUT_ROW: begin
                mem_write = 1'b1;
                mem_wdata = {17'b0, row_after, 1'b0, depth};
            end
            default: mem_valid = 1'b0;
        endcase
    end

    assign population_word = state == ENTRY && mem_ack && of_populations;
    assign projection_word = state == ENTRY && mem_ack && !of_populations;

    // -- parts ------------------------------------------------------------------------------------------------------------------
    assign fill_start   = state == RUN_FILL;
    assign fill_column  = column;
    assign fill_zeros   = word == 4'd6;
    assign updating     = phase == UPDATES;
    assign update_start = state == RUN && phase == UPDATES;
    assign walk_start   = state == RUN && phase == SENDS;
    assign clear_start  = state == RUN && phase == CLEARS;
    assign input_start  = state == SOURCE_START && from_input;
    assign list_start   = state == SOURCE_START && !from_input;
    assign end_tick     = state == NEXT && phase == SENDS;

    // -- the order of things ----------------------------------------------------------------------------------------------------
    logic   pause, one_done, without;
    state_t after_entry, after_ring;

    assign without = phase == CLEARS && !shifts_right;  // no sums to clear

    always_comb begin
        // the word of an entry after which something else comes
        case (phase)
            FILLS: pause = word == 4'd5 || word == 4'd6 || word == 4'd7;
            UPDATES: pause = word == 4'd5;
            SENDS: pause = word == 4'd0 || word == 4'd10;
            default: pause = word == 4'd10;
        endcase
        case (phase)
            FILLS: after_entry = word == 4'd5 ? PUT_RECORDS : RUN_FILL;
            UPDATES: after_entry = READ_RECORDS;
            DEPTHS: after_entry = LOOK_UP;
            CLEARS: after_entry = LOOK_UP_N;
            default: after_entry = word != 4'd0 ? LOOK_UP_N : mem_rdata[31] ? SOURCE_START : LOOK_UP;
        endcase
        case (phase)
            FILLS: after_ring = RUN_FILL;
            DEPTHS: after_ring = COMPARE;
            // of a source its spikes are looked at first: where there are none, the rest of the entry is left out
            SENDS: after_ring = word == 4'd1 ? SOURCE_START : RUN;
            default: after_ring = RUN;
        endcase
        case (state)
            ZERO_DEPTH, PUT_ROW: one_done = mem_ack;
            NEW_DEPTH: one_done = mem_ack || !deeper;
            FILLING: one_done = update_done && word == 4'd8;
            ENTRY: one_done = mem_ack && pause && without;
            RUNNING: one_done = walk_done;
            SOURCE: one_done = units_ended;
            default: one_done = 1'b0;
        endcase
    end

    assign finished = (state == BEGIN && phase == UPDATES && tick == n_ticks) || (state == WRITING && spikes_written && overflow);

    always_ff @(posedge clk) begin
        if (rst || finished) state <= IDLE;
        else if (one_done) state <= last_number ? (phase == UPDATES ? WRITING : NEXT) : phase == TABLE ? ZERO_RECORDS : ENTRY;
        else
            case (state)
                IDLE: if (start) state <= HEADER;
                HEADER: if (mem_ack && word == 4'd8) state <= BEGIN;
                BEGIN: state <= phase == TABLE ? ZERO_RECORDS : !of_populations && projections == 0 ? NEXT : ENTRY;
                NEXT: state <= BEGIN;
                ZERO_RECORDS: if (mem_ack) state <= ZERO_DEPTH;
                ENTRY: if (mem_ack && pause) state <= after_entry;
                LOOK_UP_N: state <= READ_N;
                READ_N: if (mem_ack) state <= LOOK_UP;
                LOOK_UP: state <= READ_RECORDS;
                READ_RECORDS: if (mem_ack) state <= READ_RING;
                READ_RING: if (mem_ack) state <= after_ring;
                COMPARE: state <= NEW_DEPTH;
                PUT_RECORDS: if (mem_ack) state <= READ_RING;
                RUN_FILL: state <= FILLING;
                FILLING: if (update_done) state <= word == 4'd7 || column == depth ? ENTRY : RUN_FILL;
                RUN: state <= RUNNING;
                RUNNING: if (update_done) state <= PUT_ROW;
                WRITING: if (spikes_written) state <= NEXT;
                SOURCE_START: state <= SOURCE;
                SOURCE: if (unit_valid) state <= ENTRY;
                default: ;
            endcase
    end

    always_ff @(posedge clk) begin
        if (state == IDLE && start) begin
            phase <= TABLE;
            tick  <= '0;
        end else if (state == NEXT) begin
            case (phase)
                TABLE: phase <= DEPTHS;
                DEPTHS: phase <= FILLS;
                FILLS: phase <= CLEARS;
                UPDATES: phase <= SENDS;
                default: phase <= UPDATES;
            endcase
            tick <= tick + 32'(end_tick);
        end
    end

    // -- header and entries -----------------------------------------------------------------------------------------------------
    logic [Places-1:0] skip;
    // words 6 and 7 of a population are for the state before the first tick
    assign skip = state == SOURCE ? Places'(10) : state == PUT_ROW ? Places'(2) : Places'(1);

    always_ff @(posedge clk) begin
        if (state == IDLE) entry <= image;
        else if (state == BEGIN) entry <= of_populations ? populations_at : projections_at;
        else if ((mem_ack && (at_entry || state == PUT_ROW)) || (state == SOURCE && units_ended)) entry <= entry + skip;
        if (state == IDLE || state == BEGIN || one_done) word <= 4'd0;
        else if (at_entry && mem_ack) word <= word + 4'd1;
        if (state == BEGIN) number <= 16'd0;
        else if (one_done) number <= number + 16'd1;
        if (state == HEADER) begin
            case (word)
                4'd1: populations <= mem_rdata[31:16];
                4'd2: projections <= mem_rdata[15:0];
                4'd7: populations_at <= entry_place;
                4'd8: projections_at <= entry_place;
                default: ;
            endcase
        end
        if (state == ENTRY && word == 4'd0 && of_populations || state == READ_N) n <= mem_rdata[Places-1:0];
        if (projection_word && (word == 4'd0 || word == 4'd3)) other <= mem_rdata[15:0];
        if (state == ENTRY && word == 4'd0) from_input <= mem_rdata[31];
    end

    // -- the table of the state -------------------------------------------------------------------------------------------------
    logic [Places-1:0] from, by;
    always_comb begin
        case (state)
            BEGIN: {from, by} = {state_at, Places'(0)};
            LOOK_UP_N: {from, by} = {populations_at, Places'({other, 3'b000})};
            LOOK_UP: {from, by} = {state_at, Places'({other, 1'b0})};
            default: {from, by} = {look, Places'(1)};
        endcase
    end

    logic steps;
    assign steps = mem_ack && (state == ZERO_RECORDS || state == ZERO_DEPTH || state == READ_RECORDS || state == PUT_RECORDS || state == PUT_ROW
                               || (state == READ_RING && phase == FILLS));

    always_ff @(posedge clk) begin
        if (state == BEGIN || state == LOOK_UP_N || state == LOOK_UP || steps) look <= from + by;
        deeper <= own_depth > depth;
        if (state == READ_RING) {row, depth} <= {mem_rdata[14:8], mem_rdata[6:0]};
        if (state == PUT_RECORDS) records <= sums;
        else if (state == READ_RECORDS) records <= mem_rdata[ADDR_BITS-1:2];
        // records of the populations so far, then the sums of one projection
        if (state == NEXT && phase == TABLE) sums <= look;
        else if (state == FILLING && one_done) sums <= records_end;
        if (state == PUT_RECORDS) column <= 7'd0;
        else if (state == FILLING && update_done) column <= column + 7'd1;
    end
endmodule

// Rules 3 to 6 for one population in one tick: what arrives from the ring, current, membrane, spikes. The same walk over the records
// of its neurons sets a column of them before the first tick.
//
// A record: u, v, entry of the list of spikes, ring. Numbers are 32 bit, whole for all that an image can hold.
module population_updater #(
    parameter int ADDR_BITS = 17
) (
    input  logic                 clk,
    input  logic                 rst,
    // its entry in the image, word by word
    input  logic                 entry_valid,
    input  logic [          2:0] entry_word,
    input  logic [ADDR_BITS-3:0] entry_place,   // the word as an address
    input  logic                 entry_there,   // the word is not 0
    // where its records are
    input  logic [ADDR_BITS-3:0] n,
    input  logic [ADDR_BITS-3:0] records,
    input  logic [          6:0] depth,
    input  logic [          6:0] row,
    input  logic [          6:0] stride,
    input  logic                 start_update,
    input  logic                 start_fill,    // column `column` from the array that was loaded last, or 0
    input  logic [          6:0] column,
    input  logic                 no_array,      // of the column
    output logic                 done,
    output logic [ADDR_BITS-3:0] records_end,   // with `done`: behind the last
    // spikes
    output logic                 spike_push,
    output logic [ADDR_BITS-4:0] spike,
    input  logic                 spike_full,
    // wraps of u in this tick
    input  logic                 count_wraps,
    output logic                 wraps_valid,
    output logic [ADDR_BITS-4:0] wraps,
    input  logic                 wraps_done,
    // products
    output logic                 product_start,
    output logic                 product_negative,
    output logic [         31:0] product_a,
    output logic [         12:0] product_keep,
    input  logic                 product_done,
    input  logic                 product_was_negative,
    input  logic [         31:0] product_kept,
    // memory
    output logic                 mem_valid,
    output logic                 mem_write,
    output logic [ADDR_BITS-3:0] mem_addr,
    output logic [         31:0] mem_wdata,
    input  logic                 mem_ack,
    input  logic [         31:0] mem_rdata
);
    typedef enum logic [3:0] {
        IDLE, READ_U, READ_ROW, CLEAR_ROW, KEEP_U, WRITE_U, READ_V, READ_BIAS, KEEP_V, WRITE_V, LIST, LAST, WRAPS, READ_START, FILL
    } state_t;
    state_t state;

    localparam int Places = ADDR_BITS - 2;
    localparam int Numbers = ADDR_BITS - 3;

    // -- the entry ------------------------------------------------------------------------------------------------------------
    logic [Numbers-1:0] first;
    logic [       12:0] keep_u, keep_v;
    logic [       16:0] threshold;  // without the six bits below
    logic [ Places-1:0] array;
    logic               has_array;

    // -- the walk -------------------------------------------------------------------------------------------------------------
    logic [ Places-1:0] record, list;
    logic [        6:0] offset;
    logic [Numbers-1:0] index, held;
    logic               has_held, at_end, next;
    logic [       31:0] sum;

    assign at_end      = Places'(index) + Places'(1) == n;
    assign records_end = record + Places'(stride);

    // -- rule 4: the wrap, once; rule 5: the clip; rule 6 ---------------------------------------------------------------------
    logic above, below, spikes;
    logic [31:0] wrapped, clipped;

    assign above   = !sum[31] && (sum[30:24] != 0 || (sum[23] && sum[22:0] != 0));  // > 2^23
    assign below   = sum[31] && !(&sum[30:23] && sum[22:0] != 0);                   // <= -2^23
    assign wrapped = {sum[31:24] + (above ? 8'hFF : 8'(below)), sum[23:0]};

    always_comb begin
        clipped = sum;
        if (!sum[31] && sum[30:23] != 0) clipped = 32'h007F_FFFF;
        if (below) clipped = 32'hFF80_0001;
    end
    assign spikes = !sum[31] && {clipped[22:6], |clipped[5:0]} > {threshold, 1'b0};

    // -- requests -------------------------------------------------------------------------------------------------------------
    logic stalled;
    assign stalled = state == WRITE_V && spikes && spike_full;

    always_comb begin
        mem_valid = 1'b1;
        mem_write = 1'b0;
        mem_wdata = '0;
        offset    = 7'd0;
        case (state)
            READ_U: ;
            READ_V: offset = 7'd1;
            READ_ROW: offset = row + 7'd3;
            READ_BIAS, READ_START: ;
            CLEAR_ROW: begin
                mem_write = 1'b1;
                offset    = row + 7'd3;
            end
            WRITE_U: begin
                mem_write = 1'b1;
                mem_wdata = wrapped;
            end
            WRITE_V: begin
                mem_valid = !stalled;
                mem_write = !stalled;
                mem_wdata = stalled || spikes ? '0 : clipped;
                offset    = 7'd1;
            end
            LIST, LAST: begin
                mem_write = 1'b1;
                mem_wdata = {state == LAST, !has_held, 30'(held)};
                offset    = 7'd2;
            end
            FILL: begin
                mem_write = 1'b1;
                mem_wdata = sum;
                offset    = column;
            end
            default: mem_valid = 1'b0;
        endcase
    end

    logic [Places-1:0] from;
    logic from_array;
    assign from_array = state == READ_BIAS || state == READ_START;
    assign from       = from_array ? array : state == LIST || state == LAST ? list : record;
    assign mem_addr   = mem_valid ? from + Places'(offset) : '0;

    assign product_start    = mem_ack && (state == READ_U || state == READ_V);
    assign product_negative = mem_rdata[31];
    assign product_a        = mem_rdata ^ {32{mem_rdata[31]}};
    assign product_keep     = state == READ_U ? keep_u : keep_v;

    assign spike_push  = state == WRITE_V && mem_ack && spikes;
    assign spike       = first + index;
    assign wraps_valid = state == WRAPS;

    // -- the sum: 32 bits, what is beyond them is lost as in the specification --------------------------------------------------
    logic [31:0] term;
    logic        minus;
    assign minus = product_was_negative && state != READ_BIAS;
    assign term  = state == READ_BIAS ? mem_rdata : product_kept;

    always_ff @(posedge clk) begin
        case (state)
            READ_U: sum <= '0;
            READ_ROW: if (mem_ack) sum <= {mem_rdata[25:0], 6'b0};
            KEEP_U, KEEP_V: if (product_done) sum <= sum + (minus ? ~term : term) + 32'(minus);
            READ_BIAS: if (mem_ack) sum <= sum + term;
            WRITE_U: if (mem_ack) sum <= wrapped;
            READ_START: if (mem_ack) sum <= mem_rdata;
            IDLE: sum <= '0;
            default: ;
        endcase
    end

    // -- the order of things ----------------------------------------------------------------------------------------------------
    assign next = mem_ack && ((state == WRITE_V && !(spikes && has_held)) || state == LIST || state == FILL);
    assign done = (mem_ack && state == FILL && at_end) || (state == WRAPS && wraps_done)
                || (mem_ack && state == LAST && !(count_wraps && wraps != 0));

    always_ff @(posedge clk) begin
        if (rst) state <= IDLE;
        else
            case (state)
                IDLE: if (start_update) state <= READ_U;
                      else if (start_fill) state <= has_array && !no_array ? READ_START : FILL;
                READ_U: if (mem_ack) state <= depth != 0 ? READ_ROW : KEEP_U;
                READ_ROW: if (mem_ack) state <= mem_rdata != 0 ? CLEAR_ROW : KEEP_U;
                CLEAR_ROW: if (mem_ack) state <= KEEP_U;
                KEEP_U: if (product_done) state <= WRITE_U;
                WRITE_U: if (mem_ack) state <= READ_V;
                READ_V: if (mem_ack) state <= has_array ? READ_BIAS : KEEP_V;
                READ_BIAS: if (mem_ack) state <= KEEP_V;
                KEEP_V: if (product_done) state <= WRITE_V;
                WRITE_V: if (mem_ack) state <= spikes && has_held ? LIST : at_end ? LAST : READ_U;
                LIST: if (mem_ack) state <= at_end ? LAST : READ_U;
                LAST: if (mem_ack) state <= count_wraps && wraps != 0 ? WRAPS : IDLE;
                WRAPS: if (wraps_done) state <= IDLE;
                READ_START: if (mem_ack) state <= FILL;
                FILL: if (mem_ack) state <= at_end ? IDLE : has_array && !no_array ? READ_START : FILL;
                default: state <= IDLE;
            endcase
    end

    always_ff @(posedge clk) begin
        if (state == IDLE) begin
            record   <= records;
            list     <= records;
            index    <= '0;
            has_held <= 1'b0;
            wraps    <= '0;
        end else begin
            if (next) begin
                record <= records_end;
                index  <= index + 1'b1;
            end
            if (state == LIST && mem_ack) list <= list + Places'(stride);
            // the spike before goes to the list when the next one comes: the last of all is marked
            if (state == WRITE_V && mem_ack && spikes && !has_held || state == LIST && mem_ack) begin
                held     <= index;
                has_held <= 1'b1;
            end
            if (state == WRITE_U && mem_ack) wraps <= wraps + Numbers'(above || below);
        end
    end

    always_ff @(posedge clk) begin
        if (entry_valid) begin
            case (entry_word)
                3'd1: first <= mem_rdata[Numbers-1:0];
                3'd2: keep_u <= mem_rdata[12:0];
                3'd3: keep_v <= mem_rdata[12:0];
                3'd4: threshold <= mem_rdata[22:6];
                3'd5, 3'd6, 3'd7: begin
                    array     <= entry_place;
                    has_array <= entry_there;
                end
                default: ;
            endcase
        end else if (from_array && mem_ack) array <= array + 1'b1;
    end
endmodule

// Rules 3 to 6 for one population in one tick: what arrives from the ring, current, membrane, spikes. The same walk over the records
// of its neurons sets a column of them before the first tick.
//
// A record: entry of the list of spikes, ring, u, v. All numbers are 32 bit, whole for whatever an
// image can hold: what is beyond them is lost as in the specification.
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
    input  logic                 start_fill,    // column `column` from the array that was loaded last, or with 0
    input  logic [          6:0] column,
    input  logic                 fill_zeros,
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
    output logic [         12:0] product_keep,
    input  logic                 product_done,
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
    state_t state, next_state;

    localparam int Places = ADDR_BITS - 2;
    localparam int Numbers = ADDR_BITS - 3;

    // -- the entry: keep_u, keep_v and threshold in block RAM -------------------------------------------------------------------
    (* no_rw_check *) logic [22:0] fields[8];  // what is read while it is written is read anew before it is used
    logic [       22:0] field;
    logic [Numbers-1:0] first;
    logic [ Places-1:0] array;
    logic               has_array, from_array;
    logic [        2:0] wanted;

    // the factor is taken in the cycle after u or v has come, the threshold later
    assign wanted = state == READ_U ? 3'd2 : state == READ_V ? 3'd3 : 3'd4;

    always_ff @(posedge clk) begin
        if (entry_valid) fields[entry_word] <= mem_rdata[22:0];
        field <= fields[wanted];
    end

    always_ff @(posedge clk) begin
        if (entry_valid && entry_word == 3'd1) first <= mem_rdata[Numbers-1:0];
        // bias, or a start
        if (entry_valid && entry_word >= 3'd5) begin
            array     <= entry_place;
            has_array <= entry_there;
        end else if (from_array && mem_ack) array <= array + 1'b1;
    end

    // -- the walk -------------------------------------------------------------------------------------------------------------
    logic [ Places-1:0] record, list, from;
    logic [        6:0] offset;
    logic               one_more;
    logic [Numbers-1:0] index, held;
    logic               has_held, at_end, next, listing;

    assign from_array  = state == READ_BIAS || state == READ_START;
    assign listing     = state == LIST || state == LAST;
    assign at_end      = Places'(index) + Places'(1) == n;
    assign records_end = record + Places'(stride);
    assign from        = from_array ? array : listing ? list : record;

    // -- the sum, its wrap and its clip ------------------------------------------------------------------------------------------
    logic [31:0] sum, term;
    logic high, low, above, below, spikes, has_wrapped, wrapping, clip_low, membrane;

    assign high     = !sum[31] && sum[30:23] != 0;                // >= 2^23
    assign low      = sum[31] && !(&sum[30:23] && sum[22:0] != 0);  // <= -2^23
    assign above    = high && (sum[30:24] != 0 || sum[22:0] != 0);  // > 2^23
    assign below    = low;
    // once: what is far outside stays there. A current that wraps is written twice, so that no request waits for the decision
    assign wrapping = state == WRITE_U && mem_ack && (above || below) && !has_wrapped;
    // what would be clipped above spikes: every threshold lies below
    assign spikes   = !sum[31] && (high || {sum[22:6], |sum[5:0]} > {field[22:6], 1'b0});

    always_comb begin
        case (state)
            KEEP_U, KEEP_V: term = product_kept;
            READ_ROW: term = {mem_rdata[25:0], 6'b0};
            default: term = mem_rdata;
        endcase
        if (state == WRITE_U) term = {{7{above}}, 1'b1, 24'b0};  // -2^24 or 2^24
    end

    logic adds, begins_anew;
    assign adds = (state == KEEP_U || state == KEEP_V) ? product_done : wrapping
                || (mem_ack && (state == READ_ROW || from_array));
    assign begins_anew = state == IDLE || state == READ_U || (state == FILL && mem_ack);

    always_ff @(posedge clk) begin
        if (begins_anew) sum <= '0;
        else if (adds) sum <= sum + term;
        if (state == READ_U) has_wrapped <= 1'b0;
        else if (wrapping) has_wrapped <= 1'b1;
    end

    // -- requests -------------------------------------------------------------------------------------------------------------
    logic stalled;
    assign membrane  = state == WRITE_V;
    assign stalled   = membrane && spike_full;
    assign clip_low  = membrane && low;

    always_comb begin
        mem_valid = 1'b1;
        mem_write = 1'b0;
        case (state)
            READ_U, READ_V, READ_ROW, READ_BIAS, READ_START: ;
            WRITE_V: {mem_valid, mem_write} = {2{!stalled}};
            CLEAR_ROW, WRITE_U, LIST, LAST, FILL: mem_write = 1'b1;
            default: mem_valid = 1'b0;
        endcase
        one_more = 1'b1;
        case (state)
            READ_ROW, CLEAR_ROW: offset = row;
            READ_U, WRITE_U: offset = depth;
            READ_V, WRITE_V: offset = depth + 7'd1;
            FILL: {offset, one_more} = {column, 1'b0};
            default: {offset, one_more} = 8'd0;
        endcase
        if (state == WRITE_U || state == FILL || (membrane && !spikes)) mem_wdata = sum;
        else mem_wdata = '0;
        if (clip_low) mem_wdata = 32'hFF80_0001;
        if (listing) mem_wdata = {state == LAST, !has_held, 30'(held)};
        if (!mem_write) mem_wdata = '0;
    end
    assign mem_addr = mem_valid ? from + Places'(offset) + Places'(one_more) : '0;

    assign product_start = mem_ack && (state == READ_U || state == READ_V);
    assign product_keep  = field[12:0];

    assign spike_push  = membrane && mem_ack && spikes;
    assign spike       = first + index;
    assign wraps_valid = state == WRAPS;

    // -- the order of things ----------------------------------------------------------------------------------------------------
    logic counted;
    assign counted = count_wraps && wraps != 0;
    assign next    = mem_ack && ((membrane && !(spikes && has_held)) || state == LIST || state == FILL);
    assign done    = (mem_ack && ((state == FILL && at_end) || (state == LAST && !counted))) || (state == WRAPS && wraps_done);

    always_comb begin
        next_state = state;
        case (state)
            IDLE: if (start_update) next_state = READ_U;
                  else if (start_fill) next_state = has_array && !fill_zeros ? READ_START : FILL;
            KEEP_U: if (product_done) next_state = WRITE_U;
            KEEP_V: if (product_done) next_state = WRITE_V;
            WRAPS: if (wraps_done) next_state = IDLE;
            default: if (mem_ack)
                case (state)
                    READ_U: next_state = depth != 0 ? READ_ROW : KEEP_U;
                    READ_ROW: next_state = mem_rdata != 0 ? CLEAR_ROW : KEEP_U;
                    CLEAR_ROW: next_state = KEEP_U;
                    WRITE_U: next_state = wrapping ? WRITE_U : READ_V;
                    READ_V: next_state = has_array ? READ_BIAS : KEEP_V;
                    READ_BIAS: next_state = KEEP_V;
                    WRITE_V: next_state = spikes && has_held ? LIST : at_end ? LAST : READ_U;
                    LIST: next_state = at_end ? LAST : READ_U;
                    LAST: next_state = counted ? WRAPS : IDLE;
                    READ_START: next_state = FILL;
                    default: next_state = at_end ? IDLE : has_array && !fill_zeros ? READ_START : FILL;
                endcase
        endcase
    end

    always_ff @(posedge clk) begin
        state <= rst ? IDLE : next_state;
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
            if (spike_push && !has_held || state == LIST && mem_ack) begin
                held     <= index;
                has_held <= 1'b1;
            end
            if (wrapping) wraps <= wraps + 1'b1;
        end
    end
endmodule

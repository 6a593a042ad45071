// Rule 2 for one projection in one tick: every spike of its source goes through its synapses into the delay ring of the target. Where
// the exponent is negative, into sums of its own first, which are then shifted right, added to the ring and left 0.
module synapse_walker #(
    parameter int ADDR_BITS = 17,
    parameter int UNIT_BITS = 32
) (
    input  logic                 clk,
    input  logic                 rst,
    // its entry in the image, word by word
    input  logic                 entry_valid,
    input  logic [          3:0] entry_word,
    input  logic [ADDR_BITS-3:0] entry_place,   // the word as an address
    input  logic                 entry_there,   // the word is not 0
    output logic [          6:0] own_depth,
    output logic                 shifts_right,
    // the target
    input  logic [ADDR_BITS-3:0] n,
    input  logic [ADDR_BITS-3:0] records,
    input  logic [          6:0] depth,
    input  logic [          6:0] row,
    input  logic [          6:0] stride,
    input  logic [ADDR_BITS-3:0] sums,
    input  logic                 start,
    input  logic                 start_clear,   // of the sums
    output logic                 done,
    output logic                 walked,        // one synapse
    // spikes of the source
    input  logic                 unit_valid,
    input  logic                 unit_ended,
    input  logic [UNIT_BITS-1:0] unit,
    output logic                 unit_next,
    // products of places
    output logic                 product_start,
    output logic [ADDR_BITS-1:0] product_a,
    output logic [ADDR_BITS-3:0] product_b,
    output logic [ADDR_BITS-3:0] product_c,
    input  logic                 product_done,
    input  logic [ADDR_BITS-1:0] product,
    // what is added, at `mem_addr`
    output logic                 add_valid,
    output logic [         31:0] add_value,
    output logic                 add_subtract,
    input  logic                 add_done,
    // memory
    output logic                 mem_valid,
    output logic                 mem_write,
    output logic [ADDR_BITS-3:0] mem_addr,
    input  logic                 mem_ack,
    input  logic [         31:0] mem_rdata
);
    typedef enum logic [4:0] {
        IDLE, TAKE, RANGE, FIRST, BEHIND, FROM, TO, ANY, TARGETS, DELAYS, WEIGHTS, SETTLE, TARGET, PLACE, ADD, SUMS, ALL_SUMS, SUM, SHIFT,
        ADD_SUM, CLEAR_SUM
    } state_t;
    state_t state, next_state, first_fetch;

    localparam int Places = ADDR_BITS - 2;

    // -- the entry: where its arrays are, in block RAM ----------------------------------------------------------------------------
    logic [UNIT_BITS-1:0] start_unit;
    logic [ADDR_BITS-1:0] size;
    logic [          4:0] exponent;  // with its sign
    logic [          1:0] code;
    logic                 listed, has_delays, wide;
    // what is read while it is written is read anew before it is used
    (* no_rw_check *) logic [Places-1:0] fields[16];
    logic [   Places-1:0] field;
    logic [          3:0] wanted;

    assign shifts_right = exponent[4];
    generate
        if (Places > 16) begin : g_wide
            assign wide = n > Places'(65536);
        end else begin : g_narrow
            assign wide = 1'b0;
        end
    endgenerate

    always_comb begin
        case (next_state)
            DELAYS: wanted = 4'd8;
            FROM, TO: wanted = 4'd9;
            TARGETS: wanted = 4'd10;
            default: wanted = 4'd7;
        endcase
    end

    always_ff @(posedge clk) begin
        if (entry_valid) fields[entry_word] <= entry_place;
        field <= fields[wanted];
    end

    always_ff @(posedge clk) begin
        if (entry_valid) begin
            case (entry_word)
                4'd1: start_unit <= mem_rdata[UNIT_BITS-1:0];
                4'd2: size <= mem_rdata[ADDR_BITS-1:0];
                4'd4: exponent <= {mem_rdata[31], mem_rdata[3:0]};
                4'd5: own_depth <= mem_rdata[6:0];
                4'd6: {listed, code} <= {mem_rdata[8], mem_rdata[1:0]};
                4'd8: has_delays <= entry_there;
                default: ;
            endcase
        end
    end

    // -- places ---------------------------------------------------------------------------------------------------------------
    logic [ADDR_BITS-1:0] place;               // of the unit in the projection
    logic [ADDR_BITS-1:0] synapse, following;  // number of the one that is looked at; the word of the sums
    logic [ADDR_BITS-1:0] behind;              // number of the one behind the last
    logic [   Places-1:0] ring, begins;        // of the target, or its sums
    logic [          6:0] apart;               // words from one target's to the next one's
    logic [  UNIT_BITS:0] difference;
    logic                 outside, is_ours, more, clearing, closing, fetches_four;

    assign difference = {1'b0, unit} - {1'b0, start_unit};
    assign is_ours    = !outside && place < size;
    assign closing    = state == ALL_SUMS || state == SUM || state == ADD_SUM || state == CLEAR_SUM;
    assign apart      = shifts_right && (!closing || state == ALL_SUMS) ? own_depth : stride;
    assign begins     = shifts_right && !closing ? sums : records;
    // before the first one: whether there is any
    assign following  = synapse + (state == BEHIND ? ADDR_BITS'(n) : ADDR_BITS'(state != ANY));
    assign more       = following != behind;

    // -- bytes of weights and delays, four synapses each; targets, two or one: the words that were read last, in block RAM ------------
    (* no_rw_check *) logic [31:0] words[8];  // three are used; of eight Yosys makes block RAM
    logic [31:0] word;
    logic [ 7:0] of_four;
    logic [15:0] of_two;
    logic [ 1:0] kept, shown;
    logic        crosses_word, crosses_half;

    assign kept  = state == TARGETS ? 2'd2 : state == DELAYS ? 2'd1 : 2'd0;
    assign shown = next_state == TARGET ? 2'd2 : next_state == PLACE ? 2'd1 : 2'd0;

    always_ff @(posedge clk) begin
        if (mem_ack) words[{1'b0, kept}] <= mem_rdata;
        word <= words[{1'b0, shown}];
    end

    assign of_two  = synapse[0] ? word[31:16] : word[15:0];
    // the weight, and while it is placed the delay
    assign of_four = synapse[1] ? (synapse[0] ? word[31:24] : word[23:16]) : (synapse[0] ? word[15:8] : word[7:0]);
    assign crosses_word = following[1:0] == 0;
    assign crosses_half = wide || !following[0];

    // -- the weight, and a sum that is shifted right ------------------------------------------------------------------------------
    logic [16:0] magnitude, shifted;
    logic [31:0] value;
    logic [ 3:0] right;

    assign magnitude = code == 2'd0 ? {{8{of_four[7]}}, of_four, 1'b0} : {9'b0, of_four};
    assign shifted   = magnitude << (shifts_right ? 3'd0 : exponent[2:0]);

    // -- the place in the ring: `late` ticks beyond the row that comes next; in sums simply the delay --------------------------------
    logic [6:0] late, late_sum, beyond, around, in_ring;
    logic       last_late;
    assign beyond    = row + (closing || state == SHIFT ? late_sum : state == PLACE ? {1'b0, of_four[5:0]} : 7'd0);
    assign around    = beyond - depth;
    assign in_ring   = around[6] ? beyond : around;
    assign last_late = late_sum + 7'd1 == own_depth;

    // -- requests -------------------------------------------------------------------------------------------------------------
    logic [Places-1:0] from, offset, address;
    logic              one_more;
    always_comb begin
        from = field;
        case (state)
            FROM, TO: offset = place[Places-1:0];
            TARGETS: offset = wide ? synapse[Places-1:0] : synapse[ADDR_BITS-2:1];
            SUM, CLEAR_SUM: {from, offset} = {sums, synapse[Places-1:0]};
            ADD, ADD_SUM: {from, offset} = {ring, Places'(late)};
            default: offset = synapse[ADDR_BITS-1:2];
        endcase
    end
    // behind the pointer that is looked up; behind the list of spikes in a record
    assign one_more  = state == TO || (state == ADD && !shifts_right) || state == ADD_SUM;
    assign address   = from + offset + Places'(one_more);
    assign mem_valid = state == FROM || state == TO || state == WEIGHTS || state == DELAYS || state == TARGETS || state == SUM
                     || state == CLEAR_SUM;
    assign mem_write = state == CLEAR_SUM;
    assign mem_addr  = mem_valid || add_valid ? address : '0;

    assign add_valid    = (state == ADD && of_four != 0) || state == ADD_SUM;
    assign add_value    = state == ADD ? {{15{shifted[16]}}, shifted} : value;
    assign add_subtract = state == ADD && code == 2'd2;

    // dense: the first synapse; list: the target's place; sums: all of them
    assign product_start = (state == RANGE && is_ours && !listed) || state == TARGET || state == SUMS;
    assign product_a     = state != TARGET ? place
                         : ADDR_BITS'(wide ? word : 32'(of_two));
    assign product_b     = state == FIRST ? n : Places'(apart);
    assign product_c     = state == TARGET || state == PLACE ? begins : '0;

    // -- the order of things ----------------------------------------------------------------------------------------------------
    logic step, sum_step;
    assign step      = state == ADD && (of_four == 0 || add_done);
    assign walked    = step;
    assign sum_step  = mem_ack && ((state == SUM && mem_rdata == 0) || state == CLEAR_SUM);
    assign unit_next = (state == RANGE && !is_ours) || ((step || state == ANY) && !more);
    assign done      = (state == TAKE && unit_ended && !shifts_right) || (sum_step && !more);

    // words of targets, delays and weights in this order; targets more often than the rest
    assign first_fetch = listed ? TARGETS : has_delays ? DELAYS : WEIGHTS;

    always_comb begin
        next_state = state;
        case (state)
            IDLE: if (start) next_state = TAKE;
                  else if (start_clear) next_state = SUMS;
            TAKE: if (unit_valid) next_state = RANGE;
                  else if (unit_ended) next_state = shifts_right ? SUMS : IDLE;
            RANGE: next_state = !is_ours ? TAKE : listed ? FROM : FIRST;
            // which synapses
            FIRST: if (product_done) next_state = BEHIND;
            BEHIND: next_state = first_fetch;
            FROM: if (mem_ack) next_state = TO;
            TO: if (mem_ack) next_state = ANY;
            ANY: next_state = more ? first_fetch : TAKE;
            // one synapse
            TARGETS: if (mem_ack) next_state = !fetches_four ? SETTLE : has_delays ? DELAYS : WEIGHTS;
            DELAYS: if (mem_ack) next_state = WEIGHTS;
            WEIGHTS: if (mem_ack) next_state = SETTLE;
            SETTLE: next_state = listed ? TARGET : has_delays ? PLACE : ADD;
            TARGET: next_state = PLACE;
            PLACE: if (!listed || product_done) next_state = ADD;
            ADD: if (step) next_state = !more ? TAKE : crosses_word || (listed && crosses_half) ? first_fetch
                                      : listed ? TARGET : has_delays ? PLACE : ADD;
            // sums
            SUMS: next_state = ALL_SUMS;
            ALL_SUMS: if (product_done) next_state = SUM;
            SUM: if (mem_ack) next_state = mem_rdata != 0 ? (clearing ? CLEAR_SUM : SHIFT) : more ? SUM : IDLE;
            SHIFT: if (right == 4'd1) next_state = ADD_SUM;
            ADD_SUM: if (add_done) next_state = CLEAR_SUM;
            CLEAR_SUM: if (mem_ack) next_state = more ? SUM : IDLE;
            default: next_state = IDLE;
        endcase
    end

    always_ff @(posedge clk) begin
        state <= rst ? IDLE : next_state;
        if (state == IDLE) clearing <= start_clear;
        // the neurons instead of a unit, for the number of sums
        if (state == TAKE || state == IDLE) place <= unit_valid && state == TAKE ? ADDR_BITS'(difference[UNIT_BITS-1:0]) : ADDR_BITS'(n);
        outside <= difference >> ADDR_BITS != 0 || difference[UNIT_BITS];

        if (state == SUMS) synapse <= '0;
        else if (state == FROM) synapse <= mem_rdata[ADDR_BITS-1:0];
        else if (state == FIRST) synapse <= product;
        else if (step || sum_step) synapse <= following;
        // after the first fetch of a unit only where the next four begin
        if (state == ANY || state == BEHIND) fetches_four <= 1'b1;
        else if (state == ADD) fetches_four <= crosses_word;
        if (state == TO) behind <= mem_rdata[ADDR_BITS-1:0];
        else if (state == BEHIND) behind <= following;
        else if (state == ALL_SUMS) behind <= product;

        if (state == PLACE && listed) ring <= product[Places-1:0];
        else if (state == RANGE || state == ALL_SUMS) ring <= begins;
        else if ((step && !listed) || (sum_step && last_late)) ring <= ring + Places'(apart);

        if (state == SUMS || (sum_step && last_late)) late_sum <= 7'd0;
        else if (sum_step) late_sum <= late_sum + 7'd1;
        if (state == RANGE || state == SHIFT) late <= shifts_right && state == RANGE ? 7'd0 : in_ring;
        else if (state == PLACE && has_delays) late <= shifts_right ? {1'b0, of_four[5:0]} : in_ring;
    end

    always_ff @(posedge clk) begin
        if (state == SUM) {value, right} <= {mem_rdata, -exponent[3:0]};
        else if (state == SHIFT) {value, right} <= {value[31], value[31:1], right - 4'd1};
    end
endmodule

// Rule 2 for one projection in one tick: every spike of its source goes through its synapses into the delay ring of the target. Where
// the exponent is negative, into sums of its own first, which are then shifted right, added to the ring and left 0.
module synapse_walker #(
    parameter int ADDR_BITS = 17
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
    input  logic [         31:0] unit,
    output logic                 unit_next,
    // products of places
    output logic                 product_start,
    output logic [ADDR_BITS-1:0] product_a,
    output logic [ADDR_BITS-3:0] product_b,
    input  logic                 product_done,
    input  logic [ADDR_BITS-1:0] product,
    // what is added where
    output logic                 add_valid,
    output logic [ADDR_BITS-3:0] add_addr,
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
    typedef enum logic [3:0] {
        IDLE, TAKE, RANGE, ROW_OF_WEIGHTS, FROM, TO, WEIGHTS, DELAYS, TARGETS, TARGET, PLACE, ADD, SUM, SHIFT, ADD_SUM, CLEAR_SUM
    } state_t;
    state_t state;

    localparam int Places = ADDR_BITS - 2;

    // -- the entry ------------------------------------------------------------------------------------------------------------
    logic [       31:0] start_unit;
    logic [ADDR_BITS-1:0] size;
    logic [        4:0] exponent;  // with its sign
    logic [        1:0] code;
    logic               listed, has_delays, wide;
    logic [ Places-1:0] weights, delays, pointers, targets;

    assign shifts_right = exponent[4];
    generate
        if (Places > 16) begin : g_wide
            assign wide = n > Places'(65536);
        end else begin : g_narrow
            assign wide = 1'b0;
        end
    endgenerate

    always_ff @(posedge clk) begin
        if (entry_valid) begin
            case (entry_word)
                4'd1: start_unit <= mem_rdata;
                4'd2: size <= mem_rdata[ADDR_BITS-1:0];
                4'd4: exponent <= {mem_rdata[31], mem_rdata[3:0]};
                4'd5: own_depth <= mem_rdata[6:0];
                4'd6: begin
                    code   <= mem_rdata[1:0];
                    listed <= mem_rdata[8];
                end
                4'd7: weights <= entry_place;
                4'd8: begin
                    delays     <= entry_place;
                    has_delays <= entry_there;
                end
                4'd9: pointers <= entry_place;
                4'd10: targets <= entry_place;
                default: ;
            endcase
        end
    end

    // -- places ---------------------------------------------------------------------------------------------------------------
    logic [ADDR_BITS-1:0] place;     // of the unit in the projection
    logic                 outside;
    logic [ADDR_BITS-1:0] synapse;   // number of the one that is looked at; the word of the sums
    logic [ADDR_BITS-1:0] left;
    logic [   Places-1:0] ring;      // of the target, or its sums
    logic [          6:0] late;      // place in there
    logic [         32:0] difference;
    logic                 clearing, more, is_ours;
    logic [          6:0] late_count;  // of the sums of one target, from 1
    logic [          6:0] apart;     // words from one target's to the next one's
    logic [   Places-1:0] begins;

    assign difference = {1'b0, unit} - {1'b0, start_unit};
    assign is_ours     = !outside && place < size;
    assign apart      = shifts_right ? own_depth : stride;
    assign begins     = shifts_right ? sums : records + Places'(3);
    assign more       = left != 1;

    // -- bytes of weights and delays, four synapses each; targets, two or one --------------------------------------------------
    logic [31:0] four_weights, four_delays, two_targets;
    logic [ 7:0] weight, delay;
    logic [ADDR_BITS-1:0] following;
    logic        crosses_word, crosses_half;

    always_comb begin
        case (synapse[1:0])
            2'd0: {weight, delay} = {four_weights[7:0], four_delays[7:0]};
            2'd1: {weight, delay} = {four_weights[15:8], four_delays[15:8]};
            2'd2: {weight, delay} = {four_weights[23:16], four_delays[23:16]};
            default: {weight, delay} = {four_weights[31:24], four_delays[31:24]};
        endcase
    end
    assign following    = synapse + 1'b1;
    assign crosses_word = following[1:0] == 0;
    assign crosses_half = wide || !following[0];

    // -- the weight -------------------------------------------------------------------------------------------------------------
    logic [16:0] magnitude, shifted;
    logic [31:0] value;  // a sum that is shifted right
    logic [ 2:0] shift_left;
    logic [ 3:0] right;

    assign magnitude  = code == 2'd0 ? {{8{weight[7]}}, weight, 1'b0} : {9'b0, weight};
    assign shift_left = shifts_right ? 3'd0 : exponent[2:0];
    assign shifted    = magnitude << shift_left;

    // -- the ring: `late` ticks beyond its first row ------------------------------------------------------------------------------
    logic [6:0] beyond, around, delay_row, next_row;
    assign beyond    = row + (state == PLACE ? {1'b0, delay[5:0]} : 7'd0);
    assign around    = beyond - depth;
    assign delay_row = beyond >= depth ? around : beyond;
    assign next_row  = late + 7'd1 == depth ? 7'd0 : late + 7'd1;

    // -- requests -------------------------------------------------------------------------------------------------------------
    logic [Places-1:0] from, offset;
    always_comb begin
        mem_valid = 1'b1;
        mem_write = 1'b0;
        from      = sums;
        offset    = synapse[Places-1:0];
        case (state)
            FROM, TO: {from, offset} = {pointers, place[Places-1:0]};
            WEIGHTS: {from, offset} = {weights, synapse[ADDR_BITS-1:2]};
            DELAYS: {from, offset} = {delays, synapse[ADDR_BITS-1:2]};
            TARGETS: {from, offset} = {targets, wide ? synapse[Places-1:0] : synapse[ADDR_BITS-2:1]};
            SUM: ;
            CLEAR_SUM: mem_write = 1'b1;
            ADD, ADD_SUM: begin
                mem_valid = 1'b0;
                {from, offset} = {ring, Places'(late)};
            end
            default: mem_valid = 1'b0;
        endcase
    end
    logic [Places-1:0] address;
    assign address  = from + offset;
    assign mem_addr = mem_valid ? address : '0;

    assign add_valid    = (state == ADD && weight != 0) || state == ADD_SUM;
    assign add_addr     = address;
    assign add_value    = state == ADD ? {{15{shifted[16]}}, shifted} : value;
    assign add_subtract = state == ADD && code == 2'd2;

    assign product_start = (state == RANGE && is_ours && !listed) || state == TARGET;
    assign product_a     = state == RANGE ? place
                         : ADDR_BITS'(wide ? two_targets : {16'b0, synapse[0] ? two_targets[31:16] : two_targets[15:0]});
    assign product_b     = state == RANGE ? n : Places'(apart);

    // -- the order of things ----------------------------------------------------------------------------------------------------
    logic step, sum_step, last_sum;
    assign step      = state == ADD && (weight == 0 || add_done);
    assign walked    = step;
    assign sum_step  = (state == SUM && mem_ack && mem_rdata == 0) || (state == CLEAR_SUM && mem_ack);
    assign last_sum  = late_count == own_depth && left == 1;
    assign unit_next = (state == RANGE && !is_ours) || (step && !more) || (state == TO && mem_ack && mem_rdata[ADDR_BITS-1:0] == synapse);
    assign done      = (state == TAKE && unit_ended && !shifts_right) || (sum_step && last_sum);

    always_ff @(posedge clk) begin
        if (rst) state <= IDLE;
        else
            case (state)
                IDLE: if (start) state <= TAKE;
                      else if (start_clear) state <= SUM;
                TAKE: if (unit_valid) state <= RANGE;
                      else if (unit_ended) state <= shifts_right ? SUM : IDLE;
                RANGE: state <= !is_ours ? TAKE : listed ? FROM : ROW_OF_WEIGHTS;
                ROW_OF_WEIGHTS: if (product_done) state <= WEIGHTS;
                FROM: if (mem_ack) state <= TO;
                TO: if (mem_ack) state <= mem_rdata[ADDR_BITS-1:0] == synapse ? TAKE : WEIGHTS;
                WEIGHTS: if (mem_ack) state <= has_delays ? DELAYS : listed ? TARGETS : ADD;
                DELAYS: if (mem_ack) state <= listed ? TARGETS : PLACE;
                TARGETS: if (mem_ack) state <= TARGET;
                TARGET: state <= PLACE;
                PLACE: if (!listed || product_done) state <= ADD;
                ADD: if (step) state <= !more ? TAKE : crosses_word ? WEIGHTS : listed ? (crosses_half ? TARGETS : TARGET)
                                       : has_delays ? PLACE : ADD;
                SUM: if (mem_ack) state <= mem_rdata != 0 ? (clearing ? CLEAR_SUM : SHIFT) : last_sum ? IDLE : SUM;
                SHIFT: if (right == 1) state <= ADD_SUM;
                ADD_SUM: if (add_done) state <= CLEAR_SUM;
                CLEAR_SUM: if (mem_ack) state <= last_sum ? IDLE : SUM;
                default: state <= IDLE;
            endcase
    end

    always_ff @(posedge clk) begin
        case (state)
            IDLE, TAKE: begin
                if (state == IDLE) clearing <= start_clear;
                place      <= difference[ADDR_BITS-1:0];
                outside    <= difference[32:ADDR_BITS] != 0;
                // for the sums; a unit sets them anew
                synapse    <= '0;
                left       <= ADDR_BITS'(n);
                late_count <= 7'd1;
                late       <= delay_row;
                ring       <= records + Places'(3);
            end
            RANGE: begin
                ring <= begins;
                late <= shifts_right ? 7'd0 : delay_row;
            end
            ROW_OF_WEIGHTS: synapse <= product;
            FROM: if (mem_ack) begin
                synapse <= mem_rdata[ADDR_BITS-1:0];
                place   <= place + 1'b1;
            end
            TO: left <= mem_rdata[ADDR_BITS-1:0] - synapse;
            PLACE: begin
                if (listed) ring <= begins + product[Places-1:0];
                if (has_delays) late <= shifts_right ? {1'b0, delay[5:0]} : delay_row;
            end
            ADD: if (step) begin
                synapse <= following;
                left    <= left - 1'b1;
                if (!listed) ring <= ring + Places'(apart);
            end
            default: if (sum_step) begin
                synapse <= following;
                if (late_count == own_depth) begin
                    late_count <= 7'd1;
                    late       <= delay_row;
                    ring       <= ring + Places'(stride);
                    left       <= left - 1'b1;
                end else begin
                    late_count <= late_count + 7'd1;
                    late       <= next_row;
                end
            end
        endcase
    end

    always_ff @(posedge clk) begin
        if (mem_ack) begin
            case (state)
                WEIGHTS: four_weights <= mem_rdata;
                DELAYS: four_delays <= mem_rdata;
                TARGETS: two_targets <= mem_rdata;
                default: ;
            endcase
        end
        if (state == SUM) begin
            value <= mem_rdata;
            right <= -exponent[3:0];
        end else if (state == SHIFT) begin
            value <= {value[31], value[31:1]};
            right <= right - 1'b1;
        end
    end
endmodule

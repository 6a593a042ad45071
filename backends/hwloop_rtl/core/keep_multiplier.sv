// Products: what is left of a current or membrane, (|x| keep) >> 12, and places in tables, a b.
//
// For a negative x the caller gives ~x = |x| - 1 and `negative`: then b is added once, which makes it |x| b.
// DSP = 0: shift and add, the lowest bit of b first; what falls out on the right is the product's low end.
module keep_multiplier #(
    parameter int ADDR_BITS = 17,
    parameter int DSP       = 1,
    parameter int B_BITS    = ADDR_BITS - 2 > 13 ? ADDR_BITS - 2 : 13
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 start,
    input  logic                 keeping,   // (a b) >> 12 is wanted, else the low ADDR_BITS bits of a b
    input  logic                 negative,
    input  logic [         31:0] a,
    input  logic [   B_BITS-1:0] b,
    output logic                 done,      // until the next start
    output logic                 was_negative,
    output logic [         31:0] kept,
    output logic [ADDR_BITS-1:0] product
);
    always_ff @(posedge clk) if (start) was_negative <= negative;

    generate
        if (DSP != 0) begin : g_dsp
            logic [  31:0] a_held;
            logic [B_BITS-1:0] b_held;
            logic [B_BITS+15:0] low, high;
            logic [B_BITS+31:0] whole;
            logic          half_done;
            always_ff @(posedge clk) begin
                if (start) begin
                    a_held <= a;
                    b_held <= b;
                end
                low  <= a_held[15:0] * b_held;
                high <= a_held[31:16] * b_held;
            end
            assign whole   = {high, 16'b0} + (B_BITS + 32)'(low) + (was_negative ? (B_BITS + 32)'(b_held) : '0);
            assign kept    = whole[43:12];
            assign product = whole[ADDR_BITS-1:0];
            always_ff @(posedge clk) begin
                half_done <= start;
                if (rst || start) done <= 1'b0;
                else if (half_done) done <= 1'b1;
            end
        end else begin : g_serial
            localparam int Steps = 6;
            logic [       31:0] a_held;
            logic [B_BITS-1:0] rest;
            logic [       31:0] sum;
            logic [       32:0] next;
            logic [Steps-1:0] left;
            logic               busy, short_held;
            assign next    = {1'b0, sum} + {1'b0, rest[0] ? a_held : 32'b0};
            assign kept    = sum;
            assign product = ADDR_BITS'({sum, rest});
            always_ff @(posedge clk) begin
                if (start) begin
                    a_held     <= a;
                    rest       <= b;
                    sum        <= negative ? 32'(b) : '0;
                    left       <= keeping ? Steps'(12) : Steps'(B_BITS);
                    short_held <= keeping;
                end else if (busy) begin
                    left <= left - 1'b1;
                    if (left != 0) begin
                        sum  <= next[32:1];
                        rest <= {next[0], rest[B_BITS-1:1]};
                    end else if (short_held) sum <= next[31:0];  // bit 12 of keep
                end
            end
            always_ff @(posedge clk) begin
                if (rst) begin
                    busy <= 1'b0;
                    done <= 1'b0;
                end else if (start) begin
                    busy <= 1'b1;
                    done <= 1'b0;
                end else if (busy && left == 0) begin
                    busy <= 1'b0;
                    done <= 1'b1;
                end
            end
        end
    endgenerate
endmodule

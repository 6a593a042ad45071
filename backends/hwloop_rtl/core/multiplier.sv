// Products: what is left of a current or membrane, and places in tables.
//
// keeping: sgn(x) ((|x| keep) >> 12), which is (x keep) >> 12, after 4095 was added where x is negative. Else the low end of a b + c.
// DSP = 0: shift and add, the lowest bit of b first; what falls out on the right is the product's low end.
module multiplier #(
    parameter int ADDR_BITS = 17,
    parameter int DSP       = 1,
    parameter int B_BITS    = ADDR_BITS - 2 > 13 ? ADDR_BITS - 2 : 13
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 start,
    input  logic                 keeping,  // held until `done`
    input  logic [         31:0] a,
    input  logic [   B_BITS-1:0] b,        // in the cycle after `start`
    input  logic [ADDR_BITS-3:0] c,        // held until `done`
    output logic                 done,     // until the next start
    output logic [         31:0] kept,
    output logic [ADDR_BITS-1:0] product
);
    generate
        if (DSP != 0) begin : g_dsp
            logic [31:0] x;
            logic [B_BITS+15:0] low;
            logic signed [B_BITS+16:0] high;
            logic [ADDR_BITS-1:0] added;
            logic [44:0] whole;
            logic started;

            always_ff @(posedge clk) begin
                if (start) x <= a;
                if (started) begin
                    low  <= x[15:0] * b;
                    high <= $signed(x[31:16]) * $signed({1'b0, b});
                end
            end
            assign added   = keeping ? ADDR_BITS'({12{x[31]}}) : ADDR_BITS'(c);
            assign whole   = 45'({high, 16'b0}) + 45'(low) + 45'(added);
            assign kept    = whole[43:12];
            assign product = whole[ADDR_BITS-1:0];
            always_ff @(posedge clk) begin
                started    <= !rst && start;
                done       <= !rst && !start && (done || started);
            end
        end else begin : g_serial
            logic [31:0] x;
            logic [B_BITS-1:0] y;
            logic signed [32:0] sum, next;
            logic [5:0] left;
            logic started, busy;

            assign next    = sum + $signed(y[0] ? {x[31], x} : 33'b0);
            assign kept    = sum[31:0];
            assign product = ADDR_BITS'({sum, y});
            always_ff @(posedge clk) begin
                if (start) begin
                    x    <= a;
                    sum  <= keeping ? 33'({12{a[31]}}) : 33'(c);
                    left <= keeping ? 6'd12 : 6'(B_BITS);
                end else if (started) y <= b;
                else if (busy && left != 0) begin
                    left <= left - 6'd1;
                    sum  <= {next[32], next[32:1]};
                    y    <= {next[0], y[B_BITS-1:1]};
                end else if (busy && keeping) sum <= next;  // bit 12 of keep
                started <= !rst && start;
                busy    <= !rst && !start && (started || (busy && left != 0));
                done    <= !rst && !start && (done || (busy && left == 0));
            end
        end
    endgenerate
endmodule

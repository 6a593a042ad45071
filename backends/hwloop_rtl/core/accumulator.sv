// Adds a value to a word of memory: a place of the delay ring, a sum, a count of wraps.
module accumulator #(
    parameter int ADDR_BITS = 17
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 valid,     // held with the rest until `done`
    input  logic [ADDR_BITS-3:0] addr,
    input  logic [         31:0] value,
    input  logic                 subtract,
    output logic                 done,
    output logic                 mem_valid,
    output logic                 mem_write,
    output logic [ADDR_BITS-3:0] mem_addr,
    output logic [         31:0] mem_wdata,
    input  logic                 mem_ack,
    input  logic [         31:0] mem_rdata
);
    logic        writing;
    logic [31:0] sum;

    assign mem_valid = valid;
    assign mem_write = valid && writing;
    assign mem_addr  = valid ? addr : '0;
    assign mem_wdata = mem_write ? sum : '0;
    assign done      = mem_write && mem_ack;

    always_ff @(posedge clk) begin
        if (!writing) sum <= mem_rdata + (subtract ? ~value : value) + 32'(subtract);
        if (rst) writing <= 1'b0;
        else if (valid && mem_ack) writing <= !writing;
    end
endmodule

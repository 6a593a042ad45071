// Adds a value to a word of memory: a place of the delay ring, a sum, a count of wraps. Who asks gives the address.
module accumulator (
    input  logic        clk,
    input  logic        rst,
    input  logic        valid,      // held with address and value until `done`
    input  logic [31:0] value,
    input  logic        subtract,
    output logic        done,
    output logic        mem_valid,
    output logic        mem_write,
    output logic [31:0] mem_wdata,  // 0 but while it writes
    input  logic        mem_ack,
    input  logic [31:0] mem_rdata
);
    logic writing;

    assign mem_valid = valid;
    assign mem_write = valid && writing;
    assign done      = mem_write && mem_ack;

    always_ff @(posedge clk) begin
        if (rst || done) begin
            writing   <= 1'b0;
            mem_wdata <= '0;
        end else if (valid && mem_ack) begin
            writing   <= 1'b1;
            mem_wdata <= mem_rdata + (subtract ? ~value : value) + 32'(subtract);
        end
    end
endmodule

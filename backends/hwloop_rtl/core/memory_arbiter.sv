// One port to memory for all parts of the core. Those that compute take turns by themselves (never two at a time: their requests
// are joined by OR); the writer of the output takes what they leave. A request that waits keeps the port.
module memory_arbiter #(
    parameter int ADDR_BITS = 17
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 main_valid,
    input  logic                 main_write,
    input  logic [ADDR_BITS-3:0] main_addr,
    input  logic [         31:0] main_wdata,
    output logic                 main_ack,
    input  logic                 writer_valid,
    input  logic [ADDR_BITS-3:0] writer_addr,
    input  logic [         31:0] writer_wdata,
    input  logic [          3:0] writer_wstrb,
    output logic                 writer_ack,
    output logic                 mem_valid,
    output logic                 mem_write,
    output logic [         31:0] mem_addr,
    output logic [         31:0] mem_wdata,
    output logic [          3:0] mem_wstrb,
    input  logic                 mem_ready
);
    logic waiting, writer_waits, writer_now;

    assign writer_now = waiting ? writer_waits : !main_valid && writer_valid;
    assign mem_valid  = main_valid || writer_valid;
    assign mem_write  = writer_now || main_write;
    assign mem_addr   = 32'({writer_now ? writer_addr : main_addr, 2'b00});
    assign mem_wdata  = writer_now ? writer_wdata : main_wdata;
    assign mem_wstrb  = writer_now ? writer_wstrb : {4{main_write}};
    assign main_ack   = main_valid && !writer_now && mem_ready;
    assign writer_ack = writer_now && mem_ready;

    always_ff @(posedge clk) begin
        waiting      <= !rst && mem_valid && !mem_ready;
        writer_waits <= writer_now;
    end
endmodule

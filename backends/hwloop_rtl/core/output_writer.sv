// Packs spikes into events (tick u32, unit u16 or u32), halfword by halfword without padding, and counts those without room.
module output_writer #(
    parameter int ADDR_BITS = 17
) (
    input  logic                 clk,
    input  logic                 rst,
    input  logic                 start,         // of a sample: counters to 0
    input  logic                 load_place,    // registers OUTPUT and OUTPUT_LIMIT are written
    input  logic                 load_room,
    input  logic [         31:0] load_value,
    input  logic                 wide,
    input  logic [         31:0] tick,
    input  logic                 spike_valid,
    input  logic [ADDR_BITS-4:0] spike,
    output logic                 spike_taken,
    output logic [ADDR_BITS-2:0] count,
    output logic [ADDR_BITS-2:0] lost,
    output logic                 mem_valid,
    input  logic                 mem_ack,
    output logic [ADDR_BITS-3:0] mem_addr,
    output logic [         31:0] mem_wdata,
    output logic [          3:0] mem_wstrb
);
    logic [ADDR_BITS-2:0] place;  // in halfwords
    logic [  ADDR_BITS-1:0] room;   // in halfwords
    logic [          1:0] part;
    logic                 fits, last;
    logic [         15:0] half;
    logic [         31:0] unit;

    assign unit = 32'(spike);
    assign fits = room[ADDR_BITS-1:2] != 0 || (!wide && room[1:0] == 2'd3);
    assign last = part == (wide ? 2'd3 : 2'd2);

    always_comb begin
        case (part)
            2'd0: half = tick[15:0];
            2'd1: half = tick[31:16];
            2'd2: half = unit[15:0];
            default: half = unit[31:16];
        endcase
    end

    // an event that has begun is written whole: its room was there
    assign mem_valid = spike_valid && (fits || part != 0);
    assign mem_addr  = place[ADDR_BITS-2:1];
    assign mem_wdata = {half, half};
    assign mem_wstrb = place[0] ? 4'b1100 : 4'b0011;
    assign spike_taken = (mem_valid && mem_ack && last) || (spike_valid && !mem_valid);

    always_ff @(posedge clk) begin
        if (load_place) place <= load_value[ADDR_BITS-1:1];
        else if (mem_valid && mem_ack) place <= place + 1'b1;
        if (load_room) room <= load_value[ADDR_BITS:1];
        else if (mem_valid && mem_ack) room <= room - 1'b1;
    end

    always_ff @(posedge clk) begin
        if (rst) part <= 2'd0;
        else if (mem_valid && mem_ack) part <= last ? 2'd0 : part + 1'b1;
        if (rst || start) begin
            count <= '0;
            lost  <= '0;
        end else begin
            count <= count + (ADDR_BITS - 1)'(mem_valid && mem_ack && last);
            lost  <= lost + (ADDR_BITS - 1)'(spike_valid && !mem_valid);
        end
    end
endmodule

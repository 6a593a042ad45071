// The neuron core: runs one sample of a program image by itself. README.md beside this file is its contract.
module neuron_core #(
    parameter int ADDR_BITS = 17,
    parameter int UNIT_BITS = 32,
    parameter int FIFO_BITS = 4,
    parameter int DSP       = 1
) (
    input  logic        clk,
    input  logic        rst,
    output logic        mem_valid,
    output logic        mem_write,
    output logic [31:0] mem_addr,
    output logic [31:0] mem_wdata,
    output logic [ 3:0] mem_wstrb,
    input  logic        mem_ready,
    input  logic [31:0] mem_rdata,
    input  logic        reg_valid,
    input  logic        reg_write,
    input  logic [ 7:0] reg_addr,
    input  logic [31:0] reg_wdata,
    output logic [31:0] reg_rdata
);
    localparam int Places = ADDR_BITS - 2;
    localparam int BBits = Places > 13 ? Places : 13;

    // -- registers --------------------------------------------------------------------------------------------------------------
    logic [Places-1:0] image, state_at, wraps_table, wraps_at;
    logic count_wraps, wide, load_input, load_count, load_output, load_limit, start, clear, quiet, settled, finished, walked;
    logic [31:0] n_ticks, tick;
    logic [ADDR_BITS-2:0] count, lost;
    logic overflow, bad_input;

    assign quiet    = rst || clear;
    assign settled  = !mem_valid || mem_ready;
    assign overflow = lost != 0;

    core_registers #(.ADDR_BITS(ADDR_BITS), .UNIT_BITS(UNIT_BITS), .FIFO_BITS(FIFO_BITS), .DSP(DSP)) registers (.*);

    // -- the sequence -----------------------------------------------------------------------------------------------------------
    logic population_word, projection_word, entry_there, update_start, fill_start, fill_zeros, update_done, walk_start, clear_start, updating;
    logic walk_done, shifts_right, input_start, list_start, unit_valid, units_ended, unit_next, end_tick, fifo_empty;
    logic [3:0] entry_word;
    logic [6:0] depth, row, stride, own_depth;
    logic [6:0] fill_column;
    logic [Places-1:0] entry_place, n, records, sums, records_end;
    logic [UNIT_BITS-1:0] unit;

    // requests to memory of parts that take turns: all 0 where there is none
    logic seq_valid, upd_valid, wlk_valid, src_valid, acc_valid, seq_write, upd_write, wlk_write, acc_write, main_ack;
    logic [Places-1:0] seq_addr, upd_addr, wlk_addr, src_addr;
    logic [31:0] seq_wdata, upd_wdata, acc_wdata;

    tick_sequencer #(.ADDR_BITS(ADDR_BITS)) sequencer (
        .rst(quiet), .spikes_written(fifo_empty), .mem_valid(seq_valid), .mem_write(seq_write), .mem_addr(seq_addr),
        .mem_wdata(seq_wdata), .mem_ack(main_ack && seq_valid), .*
    );

    // -- populations ------------------------------------------------------------------------------------------------------------
    logic spike_push, spike_full, wraps_valid, add_done, upd_product, product_done;
    logic [Places-2:0] spike, wraps;
    logic [31:0] product_kept;
    logic [12:0] upd_keep;

    population_updater #(.ADDR_BITS(ADDR_BITS)) updater (
        .rst(quiet), .entry_valid(population_word), .entry_word(entry_word[2:0]), .start_update(update_start),
        .start_fill(fill_start), .column(fill_column), .done(update_done), .wraps_done(add_done),
        .product_start(upd_product), .product_keep(upd_keep),
        .mem_valid(upd_valid), .mem_write(upd_write), .mem_addr(upd_addr), .mem_wdata(upd_wdata), .mem_ack(main_ack && upd_valid),
        .*
    );

    // -- projections ------------------------------------------------------------------------------------------------------------
    logic wlk_product, wlk_add, wlk_subtract;
    logic [ADDR_BITS-1:0] wlk_a, product;
    logic [Places-1:0] wlk_b, wlk_c;
    logic [31:0] wlk_value;

    spike_source #(.ADDR_BITS(ADDR_BITS), .UNIT_BITS(UNIT_BITS)) source (
        .rst(quiet), .load_first(load_input), .load_value(reg_wdata), .start_input(input_start), .start_list(list_start),
        .next(unit_next), .valid(unit_valid), .ended(units_ended), .bad(bad_input), .mem_valid(src_valid), .mem_addr(src_addr),
        .mem_ack(main_ack && src_valid), .*
    );

    synapse_walker #(.ADDR_BITS(ADDR_BITS), .UNIT_BITS(UNIT_BITS)) walker (
        .rst(quiet), .entry_valid(projection_word), .start(walk_start), .start_clear(clear_start), .done(walk_done),
        .unit_ended(units_ended), .product_start(wlk_product), .product_a(wlk_a), .product_b(wlk_b), .product_c(wlk_c), .add_valid(wlk_add),
        .add_value(wlk_value), .add_subtract(wlk_subtract), .mem_valid(wlk_valid), .mem_write(wlk_write),
        .mem_addr(wlk_addr), .mem_ack(main_ack && wlk_valid), .*
    );

    // -- what both use ------------------------------------------------------------------------------------------------------------
    multiplier #(.ADDR_BITS(ADDR_BITS), .DSP(DSP)) products (
        .rst(quiet), .start(upd_product || wlk_product), .keeping(updating), .a(updating ? mem_rdata : 32'(wlk_a)),
        .b(updating ? BBits'(upd_keep) : BBits'(wlk_b)), .c(wlk_c), .done(product_done), .kept(product_kept), .*
    );

    accumulator adder (
        .rst(quiet), .valid(wlk_add || wraps_valid),
        .value(wraps_valid ? 32'(wraps) : wlk_value), .subtract(wlk_subtract && !wraps_valid), .done(add_done),
        .mem_valid(acc_valid), .mem_write(acc_write), .mem_wdata(acc_wdata), .mem_ack(main_ack && acc_valid), .*
    );

    // -- spikes out ---------------------------------------------------------------------------------------------------------------
    logic fifo_refused, out_valid, out_taken, out_mem_valid, out_ack;
    logic [Places-2:0] out_spike;
    logic [Places-1:0] out_addr;
    logic [31:0] out_wdata;
    logic [3:0] out_wstrb;

    event_fifo #(.WIDTH(Places - 1), .BITS(FIFO_BITS)) fifo (
        .rst(quiet), .push(spike_push), .push_data(spike), .full(spike_full), .refused(fifo_refused), .empty(fifo_empty),
        .pop_valid(out_valid), .pop_data(out_spike), .pop(out_taken), .*
    );

    output_writer #(.ADDR_BITS(ADDR_BITS)) writer (
        .rst(quiet), .load_place(load_output), .load_room(load_limit), .load_value(reg_wdata), .spike_valid(out_valid),
        .spike(out_spike), .spike_taken(out_taken), .mem_valid(out_mem_valid), .mem_ack(out_ack), .mem_addr(out_addr),
        .mem_wdata(out_wdata), .mem_wstrb(out_wstrb), .*
    );

    memory_arbiter #(.ADDR_BITS(ADDR_BITS)) arbiter (
        .rst(quiet), .main_valid(seq_valid || upd_valid || wlk_valid || src_valid || acc_valid),
        .main_write(seq_write || upd_write || wlk_write || acc_write),
        .main_addr(seq_addr | upd_addr | wlk_addr | src_addr | (wraps_valid ? wraps_at : '0)), .main_wdata(seq_wdata | upd_wdata | acc_wdata),
        .writer_valid(out_mem_valid), .writer_addr(out_addr), .writer_wdata(out_wdata), .writer_wstrb(out_wstrb),
        .writer_ack(out_ack), .*
    );

`ifndef SYNTHESIS
    core_assertions #(.ADDR_BITS(ADDR_BITS)) assertions (
        .busy(registers.busy), .turns({seq_valid, upd_valid, wlk_valid, src_valid, acc_valid}), .*
    );
`endif
endmodule

// Runs a list of samples on the simulated neuron core, each against a model of memory that makes it wait: bench_core JOBS RESULTS.
//
// All words are u32, little-endian. JOBS: the number of jobs, then of each
//   memory words (0: that of the job before), seed, cycles that a read and a write wait, chance of a further cycle (in 256),
//   cycle at which it is aborted (0: never), most cycles, register writes, words to trace each tick, first word and words of the memory
//   to give back; the register writes (address, value), byte addresses of traced words, the memory.
// RESULTS: of each job STATUS, OUTPUT_COUNT, LOST, TICK, CYCLES_LO, CYCLES_HI, SYNAPSES, ticks traced, reads, writes; traced words, tick by
// tick; the memory asked for.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "Vneuron_core.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

using Words = std::vector<uint32_t>;

namespace {

struct Job {
    uint32_t seed, read_wait, write_wait, chance, abort_at, most_cycles, first, count;
    Words registers, traced;
};

struct Result {
    uint32_t status = 0, events = 0, lost = 0, tick = 0, low = 0, high = 0, synapses = 0, reads = 0, writes = 0;
    Words trace;
    uint32_t ticks = 0;
};

class Bench {
  public:
    Bench() {
        core_.rst = 1;
        core_.reg_valid = 0;
        cycle();
        cycle();
        core_.rst = 0;
    }

    Result run(const Job &job, Words &memory) {
        Result result;
        memory_ = &memory;
        job_ = &job;
        reads_ = writes_ = 0;
        state_ = job.seed * 2654435761u + 1u;
        for (size_t k = 0; k + 1 < job.registers.size(); k += 2) write(job.registers[k], job.registers[k + 1]);
        uint32_t cycles = 0, tick = 0;
        while ((read(0x04) & 1u) != 0 && cycles < job.most_cycles) {
            if (job.abort_at != 0 && cycles == job.abort_at) {
                write(0x00, 2);
            } else {
                cycle();
            }
            cycles++;
            uint32_t now = read(0x34);
            if (now != tick) {
                tick = now;
                result.ticks++;
                for (uint32_t at : job.traced) result.trace.push_back(memory[at / 4]);
            }
        }
        if ((read(0x04) & 1u) != 0) {
            std::fprintf(stderr, "the sample has not ended after %u cycles\n", cycles);
            std::exit(4);
        }
        result.status = read(0x04);
        result.events = read(0x28);
        result.lost = read(0x2C);
        result.tick = read(0x34);
        result.low = read(0x38);
        result.high = read(0x3C);
        result.synapses = read(0x40);
        result.reads = reads_;
        result.writes = writes_;
        return result;
    }

  private:
    uint32_t drawn() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        return state_ ^= state_ << 5;
    }

    // One clock cycle: the answer of the memory stands before the edge; what is not an answer is noise.
    void cycle() {
        core_.clk = 0;
        core_.mem_ready = drawn() & 1u;
        core_.mem_rdata = drawn();
        core_.eval();
        if (core_.mem_valid && job_ != nullptr) {
            if (!waiting_) {
                waiting_ = true;
                wait_ = core_.mem_write ? job_->write_wait : job_->read_wait;
            }
            bool ready = wait_ == 0 && drawn() % 256u >= job_->chance;
            wait_ -= wait_ != 0;
            core_.mem_ready = ready;
            if (ready) {
                waiting_ = false;
                answer();
            }
            core_.eval();
        }
        core_.clk = 1;
        core_.eval();
    }

    void answer() {
        uint32_t place = core_.mem_addr / 4;
        if (place >= memory_->size() || core_.mem_addr % 4 != 0) {
            std::fprintf(stderr, "address %08x is outside of memory\n", core_.mem_addr);
            std::exit(3);
        }
        uint32_t &word = (*memory_)[place];
        if (core_.mem_write) {
            uint32_t mask = 0;
            for (int k = 0; k < 4; k++) mask |= (core_.mem_wstrb >> k & 1u) ? 0xFFu << 8 * k : 0u;
            word = (word & ~mask) | (core_.mem_wdata & mask);
            writes_++;
        } else {
            core_.mem_rdata = word;
            reads_++;
        }
    }

    void write(uint32_t address, uint32_t value) {
        core_.reg_valid = core_.reg_write = 1;
        core_.reg_addr = static_cast<uint8_t>(address);
        core_.reg_wdata = value;
        cycle();
        core_.reg_valid = core_.reg_write = 0;
    }

    uint32_t read(uint32_t address) {
        core_.reg_addr = static_cast<uint8_t>(address);
        core_.eval();
        return core_.reg_rdata;
    }

    Vneuron_core core_;
    Words *memory_ = nullptr;
    const Job *job_ = nullptr;
    uint32_t state_ = 1, reads_ = 0, writes_ = 0, wait_ = 0;
    bool waiting_ = false;
};

uint32_t take(FILE *from) {
    uint32_t word = 0;
    if (std::fread(&word, 4, 1, from) != 1) {
        std::fprintf(stderr, "the jobs end early\n");
        std::exit(2);
    }
    return word;
}

Words take(FILE *from, size_t count) {
    Words words(count);
    if (count != 0 && std::fread(words.data(), 4, count, from) != count) {
        std::fprintf(stderr, "the jobs end early\n");
        std::exit(2);
    }
    return words;
}

void put(FILE *to, const uint32_t *words, size_t count) {
    if (count != 0 && std::fwrite(words, 4, count, to) != count) std::exit(2);
}

}  // namespace

int main(int argc, char **argv) {
    FILE *from = argc == 3 ? std::fopen(argv[1], "rb") : nullptr, *to = argc == 3 ? std::fopen(argv[2], "wb") : nullptr;
    if (from == nullptr || to == nullptr) {
        std::fprintf(stderr, "usage: bench_core JOBS RESULTS\n");
        return 2;
    }
    Bench bench;
    Words memory;
    for (uint32_t jobs = take(from); jobs > 0; jobs--) {
        uint32_t words = take(from);
        Job job;
        Words sizes = take(from, 10);
        job.seed = sizes[0], job.read_wait = sizes[1], job.write_wait = sizes[2], job.chance = sizes[3];
        job.abort_at = sizes[4], job.most_cycles = sizes[5];
        job.first = sizes[8], job.count = sizes[9];
        job.registers = take(from, 2u * sizes[6]);
        job.traced = take(from, sizes[7]);
        if (words != 0) memory = take(from, words);
        Result result = bench.run(job, memory);
        uint32_t head[] = {result.status, result.events,   result.lost,  result.tick,  result.low,
                           result.high,   result.synapses, result.ticks, result.reads, result.writes};
        put(to, head, 10);
        put(to, result.trace.data(), result.trace.size());
        put(to, memory.data() + job.first, job.count);
    }
#if VM_COVERAGE
    if (const char *path = std::getenv("HWLOOP_RTL_COVERAGE_FILE")) VerilatedCov::write(path);
#endif
    return std::fclose(to) == 0 ? 0 : 2;
}

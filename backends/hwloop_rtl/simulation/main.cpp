// The chip, clock by clock: its line is the socket in descriptor FD, and stands still while the chip waits for a byte.
//
//   simulation FD CLOCKS SEED STALL HEED   CLOCKS of a bit; SEED of the boot id and of all chance; STALL: 1/1000 chance that memory
//                                          waits; HEED 0: bytes are sent whether the chip has room or not
//
// SIGUSR1 presses the button: the chip starts anew. Ends when the other end of the socket does, or its parent.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "Vsimulated_chip.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

namespace {

constexpr int clocks_a_look = 2048;      // clocks between two looks at the socket
constexpr int button_clocks = 16;        // that the button is held
constexpr size_t most_waiting = 1 << 16; // bytes kept on their way, in either direction
constexpr int look_ms = 500;             // longest wait before the parent is looked for

volatile sig_atomic_t button = 0;
volatile sig_atomic_t ended = 0;

uint32_t drawn(uint64_t &state) {  // xorshift64*, Vigna, ACM Trans. Math. Softw. 42, 2016
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>(state * 0x2545F4914F6CDD1Du >> 32);
}

// Bytes onto the chip's rx.
struct Sender {
    std::string bytes;
    size_t next = 0;
    uint32_t bits = 0;
    int left = 0, wait = 0;

    bool done() const { return left == 0 && next == bytes.size(); }
    bool step(int clocks, bool hold) {
        if (left == 0) {
            if (hold || next == bytes.size()) return true;
            bits = 0x200u | static_cast<uint32_t>(static_cast<uint8_t>(bytes[next++])) << 1;
            if (next == bytes.size()) {
                bytes.clear();
                next = 0;
            }
            left = 10;
            wait = clocks;
        }
        bool level = bits & 1u;
        if (--wait == 0) {
            wait = clocks;
            bits >>= 1;
            left--;
        }
        return level;
    }
};

// Bytes from the chip's tx.
struct Receiver {
    std::string bytes;
    uint32_t bits = 0;
    int left = 0, wait = 0;

    void step(int clocks, bool level) {
        if (left == 0) {
            if (level) return;
            left = 10;
            wait = clocks / 2;
        }
        if (--wait > 0) return;
        wait = clocks;
        bits = bits >> 1 | static_cast<uint32_t>(level) << 9;
        if (--left == 0 && level) bytes.push_back(static_cast<char>(bits >> 1 & 0xFF));
    }
};

struct Socket {
    int descriptor;

    // Waits until a byte is there, or the other end gone.
    void wait() const {
        pollfd ready = {descriptor, POLLIN, 0};
        poll(&ready, 1, look_ms);
    }
    void take(Sender &to) const {
        char bytes[4096];
        while (to.bytes.size() - to.next < most_waiting) {
            ssize_t count = read(descriptor, bytes, sizeof bytes);
            if (count > 0) {
                to.bytes.append(bytes, static_cast<size_t>(count));
                continue;
            }
            if (count == 0 || (errno != EAGAIN && errno != EINTR)) ended = 1;
            return;
        }
    }
    // Waits where the other end does not read: simulated time stands still then.
    void give(Receiver &from) const {
        while (!from.bytes.empty() && !ended) {
            ssize_t count = send(descriptor, from.bytes.data(), from.bytes.size(), MSG_NOSIGNAL);
            if (count > 0) {
                from.bytes.erase(0, static_cast<size_t>(count));
            } else if (errno == EAGAIN) {
                if (from.bytes.size() < most_waiting) return;
                pollfd ready = {descriptor, POLLOUT, 0};
                poll(&ready, 1, look_ms);
                if (ready.revents & (POLLHUP | POLLERR)) ended = 1;
            } else if (errno != EINTR) {
                ended = 1;
            }
        }
    }
};

}  // namespace

int main(int count, char **arguments) {
    if (count != 6) {
        std::fprintf(stderr, "use: %s FD CLOCKS SEED STALL HEED\n", arguments[0]);
        return 2;
    }
    const Socket line = {std::atoi(arguments[1])};
    const int clocks = std::atoi(arguments[2]);
    uint64_t chance = std::strtoull(arguments[3], nullptr, 10) | 1u << 31;
    const uint32_t stall = static_cast<uint32_t>(std::atoi(arguments[4]));
    const bool heed = std::atoi(arguments[5]) != 0;
    const pid_t parent = getppid();
    fcntl(line.descriptor, F_SETFL, O_NONBLOCK);
    signal(SIGUSR1, [](int) { button = 1; });
    signal(SIGTERM, [](int) { ended = 1; });

    auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(1, arguments);
    auto chip = std::make_unique<Vsimulated_chip>(context.get());
    Sender sender;
    Receiver receiver;
    int pressed = 0;
    chip->seed = drawn(chance);
    chip->rx = 1;
    chip->eval();
    while (!ended && getppid() == parent) {
        if (button) {
            button = 0;
            pressed = button_clocks;
            chip->seed = drawn(chance);
        }
        line.take(sender);
        if (chip->idle && pressed == 0 && sender.done()) {
            line.give(receiver);
            line.wait();
            line.take(sender);
        }
        for (int k = 0; k < clocks_a_look; k++) {
            chip->rx = sender.step(clocks, heed && chip->hold_sender);
            chip->button = pressed > 0;
            pressed -= pressed > 0;
            chip->stall = stall != 0 && drawn(chance) % 1000 < stall;
            chip->clk = 1;
            chip->eval();
            chip->clk = 0;
            chip->eval();
            receiver.step(clocks, chip->tx);
            if (chip->stopped && pressed == 0) {
                std::fprintf(stderr, "the processor stopped at %08x and starts anew\n", chip->pc);
                chip->seed = drawn(chance);
            }
            if (chip->idle && sender.done()) break;
        }
        line.give(receiver);
    }
#if VM_COVERAGE
    if (const char *folder = std::getenv("HWLOOP_RTL_COVERAGE")) {
        context->coveragep()->write((std::string(folder) + "/chip-" + std::to_string(getpid()) + ".dat").c_str());
    }
#endif
    return 0;
}

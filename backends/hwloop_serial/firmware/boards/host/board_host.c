/*
 * The firmware as a program of this machine: a pseudo-terminal whose name it prints (no arguments), standard input and output
 * (--stdio), or a TCP port of this machine (--tcp PORT; 0: any free one, which it prints). Ends when the input of --stdio does.
 */
#define _XOPEN_SOURCE 600

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "hwl_board.h"

#define WRITE_PATIENCE_MS 2000 /* after which a host that does not read loses the rest, as on a line without flow control */
#define IDLE_MS 50
#define NO_PEER_MS 5

static struct {
    int in, out;
    int listening; /* socket on which hosts are awaited; -1: none */
    int ends;      /* whether the end of the input ends the program */
    char id[64];
} line = {-1, -1, -1, 0, "host"};

static void stop(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void hang_up(void) {
    close(line.in);
    line.in = line.out = -1;
}

static void await_host(void) {
    struct pollfd ready = {line.listening, POLLIN, 0};
    if (poll(&ready, 1, 0) > 0) {
        line.in = line.out = accept(line.listening, NULL, NULL);
        if (line.in >= 0) {
            fcntl(line.in, F_SETFL, O_NONBLOCK);
        }
    }
}

size_t hwl_board_read(uint8_t *bytes, size_t room) {
    struct pollfd ready = {line.in, POLLIN, 0};
    ssize_t count;
    if (line.in < 0 && line.listening >= 0) {
        await_host();
    }
    if (line.in < 0 || poll(&ready, 1, 0) <= 0) {
        return 0;
    }
    count = read(line.in, bytes, room);
    if (count > 0) {
        return (size_t)count;
    }
    if (line.listening >= 0) {
        if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            hang_up();
        }
    } else if (count == 0 && line.ends) {
        exit(0);
    } else if (count < 0 && errno == EIO) {
        poll(NULL, 0, NO_PEER_MS); /* nobody has the terminal open */
    }
    return 0;
}

void hwl_board_write(const uint8_t *bytes, size_t count) {
    while (count > 0 && line.out >= 0) {
        struct pollfd ready = {line.out, POLLOUT, 0};
        ssize_t done;
        if (poll(&ready, 1, WRITE_PATIENCE_MS) <= 0) {
            return;
        }
        done = write(line.out, bytes, count);
        if (done > 0) {
            bytes += done;
            count -= (size_t)done;
        } else if (errno != EAGAIN && errno != EINTR) {
            return;
        }
    }
}

uint32_t hwl_board_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

uint32_t hwl_board_boot_id(void) {
    uint32_t id = 0;
    int random = open("/dev/urandom", O_RDONLY);
    if (random < 0 || read(random, &id, sizeof id) != (ssize_t)sizeof id) {
        stop("/dev/urandom");
    }
    close(random);
    return id;
}

const char *hwl_board_device_id(void) { return line.id; }

void hwl_board_idle(void) {
    struct pollfd ready = {line.in >= 0 ? line.in : line.listening, POLLIN, 0};
    poll(&ready, 1, IDLE_MS);
}

static void open_terminal(void) {
    struct termios raw;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), slave;
    if (terminal < 0 || grantpt(terminal) < 0 || unlockpt(terminal) < 0) {
        stop("pseudo-terminal");
    }
    /* kept open here: otherwise the terminal is hung up, and its settings lost, each time that a host leaves */
    slave = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    if (slave < 0 || tcgetattr(slave, &raw) < 0) {
        stop(ptsname(terminal));
    }
    raw.c_iflag = raw.c_oflag = raw.c_lflag = 0;
    raw.c_cflag = CS8 | CREAD | CLOCAL;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(slave, TCSANOW, &raw) < 0) {
        stop("tcsetattr");
    }
    fcntl(terminal, F_SETFL, O_NONBLOCK);
    line.in = line.out = terminal;
    printf("%s\n", ptsname(terminal));
}

static void open_port(const char *text) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int yes = 1;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)strtoul(text, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    line.listening = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(line.listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (line.listening < 0 || bind(line.listening, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(line.listening, 1) < 0 || getsockname(line.listening, (struct sockaddr *)&address, &size) < 0) {
        stop("TCP port");
    }
    printf("socket://127.0.0.1:%u\n", (unsigned)ntohs(address.sin_port));
}

int main(int count, char **arguments) {
    const char *id = getenv("HWL_DEVICE_ID");
    if (id != NULL) {
        strncpy(line.id, id, sizeof line.id - 1);
    }
    if (count == 1) {
        open_terminal();
    } else if (count == 2 && strcmp(arguments[1], "--stdio") == 0) {
        line.in = STDIN_FILENO;
        line.out = STDOUT_FILENO;
        line.ends = 1;
    } else if (count == 3 && strcmp(arguments[1], "--tcp") == 0) {
        open_port(arguments[2]);
    } else {
        fprintf(stderr, "use: %s [--stdio | --tcp PORT]\n", arguments[0]);
        return 2;
    }
    fflush(stdout);
    hwl_main();
    return 0;
}

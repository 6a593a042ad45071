"""How long to wait for a reply, and how much to send at once: both follow what the line has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Shortest and longest wait for a reply before a request is sent again (s), and the first one.
LEAST_WAIT, MOST_WAIT, FIRST_WAIT = 5e-3, 1.0, 0.25
#: Time on the line as a multiple of what the rate says: bridges and relays take breaks.
LINE_SLACK = 1.25
#: Weights of a new round trip in mean and deviation (Jacobson & Karels, SIGCOMM 1988).
MEAN_SHARE, DEVIATION_SHARE, DEVIATIONS = 1 / 8, 1 / 4, 4.0
#: Part of its size by which a chunk may be larger after one arrived.
GROWTH = 4


@dataclass
class Pace:
    """Waits by the round trips seen; ``byte_seconds``: time of a byte on the line."""

    byte_seconds: float
    mean: float | None = None
    deviation: float = 0.0

    def wait(self, n_bytes: int, tries: int) -> float:
        """Time to wait for the reply to try number ``tries`` (from 0) of what moves ``n_bytes`` on the line (s)."""
        usual = FIRST_WAIT if self.mean is None else self.mean + DEVIATIONS * self.deviation
        backed_off = max(LEAST_WAIT, usual) * 2.0 ** min(tries, 6)
        return min(MOST_WAIT, backed_off) + LINE_SLACK * n_bytes * self.byte_seconds

    def took(self, seconds: float, n_bytes: int) -> None:
        """A reply came ``seconds`` after its request was sent, once."""
        net = max(0.0, seconds - n_bytes * self.byte_seconds)
        if self.mean is None:
            self.mean, self.deviation = net, net / 2
            return
        self.deviation += DEVIATION_SHARE * (abs(net - self.mean) - self.deviation)
        self.mean += MEAN_SHARE * (net - self.mean)


@dataclass
class ChunkSize:
    """Bytes of data a frame: halved where one is lost, a little larger after each that arrives.

    The sizes at which one frame in four is lost are kept to: a lost one costs itself, a small one its header and the work on it.
    """

    least: int
    most: int
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.most

    def lost(self, length: int) -> None:
        """A frame of ``length`` bytes was lost: a small rest makes no smaller ones of those that are not."""
        self.size = max(self.least, min(self.size, max(self.size, length) // 2))

    def arrived(self) -> None:
        """One arrived."""
        self.size = min(self.most, self.size + self.size // GROWTH)

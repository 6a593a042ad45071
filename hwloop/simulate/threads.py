"""One intra-op thread of torch for as long as small tensors are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch's intra-op threads set to 1 inside, as they were after; may be nested.

    Between small operations torch's other threads spin, which costs several times the work where cores are busy.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

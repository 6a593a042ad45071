"""What a board says when it is greeted, and whether this host can speak with it."""

from __future__ import annotations

from hwloop.errors import LinkError

from . import framing
from .messages import MAGIC, Hello
from .schema import SCHEMA_ID

#: Largest boot number.
MOST_BOOT = 2**32 - 1


def check_hello(hello: Hello, boot: int, name: str) -> None:
    """Raise :class:`LinkError` where the board ``name`` of start ``boot`` cannot be spoken with."""
    if hello.magic != MAGIC or hello.schema != SCHEMA_ID:
        raise LinkError(
            f"{name}: the board speaks schema {hello.schema:08x} of the link; this hwloop speaks {SCHEMA_ID:08x}. "
            "Put firmware and hwloop of the same version together"
        )
    if boot == 0:  # which a restart could not be told from
        raise LinkError(
            f"{name}: the board says boot number 0; allowed: 1..{MOST_BOOT}, another one at each start. Its firmware is at fault: "
            "report it to its author"
        )
    fits = framing.LEAST_BODY <= hello.max_body <= framing.MOST_BODY and hello.window >= 1 and hello.kind in (1, 2)
    if not fits:
        raise LinkError(
            f"{name}: the board says bodies of {hello.max_body} bytes, window {hello.window}, kind {hello.kind}; allowed: "
            f"{framing.LEAST_BODY}..{framing.MOST_BODY}, 1 or more, 1 or 2. Its firmware is at fault: report it to its author"
        )

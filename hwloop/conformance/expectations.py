"""Expected failures: a file that the owner of a target keeps, of claims that it breaks and knows about.

format = "hwloop-conformance-expected"
version = 1

[[expected]]
claim = "delays_the_spikes_of_each_input"
reason = "firmware 2 rounds delays to a millisecond; mended in 3"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from ..errors import DataError
from ..storage import read_bytes
from ..strict_documents import Name, StrictDocument, Text, parse_document

#: Reason of each expected failure, by the name of its claim.
Expectations: TypeAlias = Mapping[str, str]

#: Largest file (bytes).
MOST_BYTES = 2**20


class ExpectedText(StrictDocument):
    """One expected failure."""

    claim: Name
    reason: Annotated[Text, Field(min_length=1)]


class ExpectationsText(StrictDocument):
    """The whole file."""

    format: Literal["hwloop-conformance-expected"]
    version: Literal[1]
    expected: Annotated[tuple[ExpectedText, ...], Field(max_length=1000)] = ()


def load_expectations(path: Path | str) -> Expectations:
    """The expected failures in ``path``.

    Raises :class:`DataError`: no such file, no TOML, a field that is missing or unknown, a claim that does not exist or stands
    twice.
    """
    from .claims import CLAIMS

    try:
        content = tomllib.loads(read_bytes(path, MOST_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no TOML: {error}; mend it there") from error
    document = parse_document(ExpectationsText, json.dumps(content, default=str).encode(), str(path))
    found: dict[str, str] = {}
    for entry in document.expected:
        if entry.claim not in CLAIMS or entry.claim in found:
            what = "stands twice" if entry.claim in found else "is no claim"
            raise DataError(
                f"{path}: {entry.claim!r} {what}; claims are listed by `hwloop conform --list`, each once here"
            )
        found[entry.claim] = entry.reason
    return found

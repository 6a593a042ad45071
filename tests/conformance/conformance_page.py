"""docs/conformance.md: every claim on every built-in target: ``python -m tests.conformance.conformance_page`` (minutes)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hwloop.conformance import CLAIMS, Verdict, conform
from hwloop.conformance.verdict import Status

from .checked_targets import TARGETS

PAGE = Path(__file__).parents[2] / "docs/conformance.md"
COMMAND = "python -m tests.conformance.conformance_page"
#: A cell of the table.
CELLS: dict[Status, str] = {
    "passed": "yes",
    "skipped": "–",
    "expected": "no, known",
    "failed": "NO",
    "unexpected": "YES?",
}

HEAD = f"""# Does a target keep its promises?

`hwloop conform TARGET` checks what every target and device promises, whatever it is made of, claim by claim, through the public
protocol alone (`hwloop.target.Target`, `Device`): so it checks yours as it checks ours.

    hwloop conform mychip:0                                    # exit status 1 where a claim is broken
    hwloop conform emulator:7 --preset bss2 --json-file out.json --badge conformance.svg
    hwloop conform --list                                      # the claims, and what each demands
    pytest --hwloop-target mychip:0 --hwloop-option tick=1e-6  # one test a claim, in your own test suite
    pytest -p hwloop.conformance.plugin --hwloop-target mychip:0  # where plugins are not loaded by themselves

What a target does not have is *skipped*, with the reason, and counted as visibly as what passes. How exactly a target computes it
states itself (`promises`, [hwloop.device.abilities](../hwloop/device/abilities.py)); one that states nothing is held to what mismatch and
noise leave, in the median over neurons. Optional abilities have a protocol each: reading weights back, a deadline.

```python
from hwloop.conformance import conform
from hwloop.target import find

verdict = conform(find("emulator:7", preset="ideal"), claims=["orders_events_in_time", "holds_the_refractory_time"])
print(verdict.headline)
```

```text
2 passed, 0 skipped, 0 failed
```

## Known failures

What a target is known to break stands in a file that its owner keeps, `--expected FILE.toml` (pytest: `--hwloop-expected`):

    format = "hwloop-conformance-expected"
    version = 1

    [[expected]]
    claim = "delays_the_spikes_of_each_input"
    reason = "firmware 2 rounds delays to a millisecond; mended in 3"

Such a failure is listed with its reason and does not fail the check; one that *passes* does, until it is taken out of the file.

## Without the hardware

`--log session.log` records the check; `hwloop conform replay:session.log` answers the same check from it. `hwloop serve` makes a board
of a target, which `hwloop conform serial:PORT` checks through the line.

## The built-in targets

Written by `{COMMAND}`; do not edit below. All of them are emulated or simulated: no row here was measured on hardware. "–": the
target does not have it, or promises nothing that could be checked.

"""


def page(verdicts: Mapping[str, Verdict]) -> str:
    """The page; ``verdicts`` by column."""
    lines = [_row(["claim", "about", *verdicts]), _row(["---"] * (2 + len(verdicts)))]
    by_claim = {column: {o.claim: o.status for o in verdict.outcomes} for column, verdict in verdicts.items()}
    for claim in CLAIMS.values():
        lines.append(_row([f"`{claim.name}`", claim.topic, *(CELLS[found[claim.name]] for found in by_claim.values())]))
    counts = [verdict.counts for verdict in verdicts.values()]
    for status in ("passed", "skipped", "failed"):
        lines.append(_row([f"**{status}**", "", *(str(count[status]) for count in counts)]))
    demands = [f"- `{claim.name}`: {claim.summary}" for claim in CLAIMS.values()]
    return HEAD + "\n".join([*lines, "", "## What each claim demands", "", *demands]) + "\n"


def columns(text: str) -> dict[str, dict[str, str]]:
    """The table of a page: cells by column and claim."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    names, body = rows[0][2:], [row for row in rows[2:] if row[0].startswith("`")]
    return {name: {row[0].strip("`"): row[2 + k] for row in body} for k, name in enumerate(names)}


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    verdicts = {}
    for column, opening in TARGETS.items():
        with opening() as target:
            verdicts[column] = conform(target)
        print(f"{column}: {verdicts[column].headline}", flush=True)
    PAGE.write_text(page(verdicts))


if __name__ == "__main__":
    main()

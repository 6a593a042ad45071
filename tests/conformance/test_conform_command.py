"""``hwloop conform`` and the plugin of pytest, as a third party uses them."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from hwloop.conformance import CLAIMS
from tests.cli_runs import done, refused, run

pytest_plugins = ["pytester"]

KNOWN = 'format = "hwloop-conformance-expected"\nversion = 1\n[[expected]]\nclaim = "{}"\nreason = "old"\n'
#: Few and cheap.
CHOSEN = ("--claim", "orders_events_in_time", "--claim", "refuses_loops", "--claim", "names_the_program_that_ran")


def test_every_claim_is_listed_with_what_it_demands() -> None:
    text = done("conform", "--list").stdout
    for claim in CLAIMS.values():
        assert claim.name in text
        assert claim.summary in text


@pytest.mark.usefixtures("third_parties")
def test_a_backend_from_outside_is_checked_counted_and_gets_a_badge(tmp_path: Path) -> None:
    outcomes, badge = tmp_path / "out.json", tmp_path / "badge.svg"
    text = done("conform", "mychip:1", "--option", "tick=1e-5", *CHOSEN, "--json", outcomes, "--badge", badge).stdout
    assert "mychip:1: 3 passed, 0 skipped, 0 failed" in text
    assert "mychip/0001 (emulator, mychip firmware 1)" in text
    document = json.loads(outcomes.read_text())
    assert (document["format"], document["version"], document["conforms"]) == ("hwloop-conformance", 1, True)
    assert document["counts"] == {"passed": 3, "skipped": 0, "expected": 0, "failed": 0, "unexpected": 0}
    assert {c["claim"]: c["status"] for c in document["claims"]} == dict.fromkeys(CHOSEN[1::2], "passed")
    text = "".join(ElementTree.fromstring(badge.read_text()).itertext())
    assert "hwloop conformance" in text
    assert "3 passed, 0 skipped, 0 failed" in text


def test_a_known_failure_that_passes_fails_the_command(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text(KNOWN.format("orders_events_in_time"))
    result = run("conform", "loihi", *CHOSEN, "--expected", known)
    assert result.exit_code == 1
    assert "1 passed, 1 skipped, 0 failed, 1 passed against expectation" in result.stdout
    assert "passed, although expected to fail: old" in result.stdout


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    refused(2, "no target; allowed: the name of one, such as emulator:7", "conform")
    refused(2, "unknown target 'nochip:0'; available: emulator", "conform", "nochip:0")
    refused(2, "no claim is called 'nothing'", "conform", "loihi", "--claim", "nothing")
    refused(1, "cannot read .*missing.toml", "conform", "loihi", "--expected", tmp_path / "missing.toml")


def test_a_check_that_was_recorded_is_answered_again_from_its_log(tmp_path: Path) -> None:
    log = tmp_path / "session.log"
    done("conform", "emulator:3", *CHOSEN, "--log", log)
    text = done("conform", f"replay:{log}", *CHOSEN).stdout
    assert f"replay:{log}: 2 passed, 1 skipped, 0 failed" in text
    assert "emulator:3/bss2" in text
    other = run("conform", f"replay:{log}", "--claim", "starts_every_sample_at_rest")
    assert other.exit_code == 1
    assert "was not recorded" in other.stdout


def plugged(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "hwloop.conformance.plugin", "-p", "no:cacheprovider", *arguments)


@pytest.mark.usefixtures("third_parties")
def test_the_plugin_runs_a_test_for_each_claim_beside_ones_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_own="def test_own():\n    pass\n")
    pytester.path.joinpath("known.toml").write_text(KNOWN.format("orders_events_in_time"))
    found = plugged(
        pytester, "-v", "--hwloop-target", "mychip:0", "--hwloop-option", "tick=1e-5", "--hwloop-expected", "known.toml",
        "-k", "own or orders or delays_the or names_the_program",
    )  # fmt: skip
    assert found.ret == 1
    text = found.stdout.str()
    assert f"collected {len(CLAIMS) + 1} items" in text
    assert "test_own.py::test_own PASSED" in text
    assert "hwloop-conformance::names_the_program_that_ran PASSED" in text
    assert "hwloop-conformance::delays_the_spikes_of_each_input SKIPPED (no delays)" in text
    assert "[XPASS(strict)] old" in text
    found.assert_outcomes(passed=2, skipped=2, failed=1)


def test_a_broken_claim_says_what_it_demands_and_by_what_it_is_broken(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.conformance.faulty_chips import FAULTS

    monkeypatch.setattr("hwloop.device.registry.find", lambda name: FAULTS["delays dropped"][0]())
    found = plugged(pytester, "--hwloop-target", "faulty", "-k", "delays_the")
    found.assert_outcomes(failed=1)
    text = found.stdout.str()
    assert "Networks that learn delays are lost on a device that drops them." in text
    assert "broken by sound: spikes are 0.02 s from where their delay puts them" in text
    assert "Traceback" not in text


def test_the_plugin_does_nothing_unless_a_target_is_named_and_refuses_one_that_is_not_there(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_own="def test_own():\n    pass\n")
    plugged(pytester, "-q").assert_outcomes(passed=1)
    found = plugged(pytester, "-q", "--hwloop-target", "loihi", "--hwloop-option", "dt")
    assert found.ret == 4
    assert "--hwloop-option 'dt'; allowed: KEY=VALUE, such as preset=bss2" in found.stderr.str()
    found = plugged(pytester, "-q", "--hwloop-target", "nochip:0")
    assert found.ret == 4
    assert "unknown target 'nochip:0'; available" in found.stderr.str()


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = "import sys, hwloop.conformance.plugin; print([m for m in ('torch', 'numpy', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"

"""Skipped tests are counted in several processes too, and so are modules that are skipped whole."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skip(reason="known")
def test_known():
    pass

def test_other():
    pytest.skip("other")
"""
ABSENT = "could not import 'absent_module': No module named 'absent_module'"


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_skip_that_is_not_allowed_fails_the_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    # The others take seconds to import.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        test_one=TESTS, test_two="import pytest\n\npytest.importorskip('absent_module')"
    )
    known = pytester.makefile(".txt", known="# reasons\n\nknown")
    more = pytester.makefile(".txt", more=f"other\n{ABSENT}")
    run = ("-p", "xdist", "-n", processes, "-p", "tests.support.skips", "--allowed-skips", known)
    failed = pytester.runpytest_subprocess(*run)
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(["*not allowed*", "*test_other: other", f"test_two.py: {ABSENT}"])
    failed.stdout.no_fnmatch_line("*test_known: known")
    assert pytester.runpytest_subprocess(*run, "--allowed-skips", more).ret == pytest.ExitCode.OK

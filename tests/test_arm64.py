"""`make test-arm64` as far as it can be tested without an emulator: what it chooses, counts and says."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from arm64 import groups, tally

ROOT = Path(__file__).resolve().parent.parent


def test_every_pattern_of_a_group_finds_tests_and_none_is_in_two_groups() -> None:
    for name, (_, patterns) in groups.GROUPS.items():
        for pattern in patterns:
            assert list(groups.TESTS.glob(pattern)), f"{name}: {pattern}"
    chosen = [file for name in groups.GROUPS for file in groups.files(name)]
    assert len(chosen) == len(set(chosen))
    slowed = set(groups.files(groups.SLOWED))
    assert set(chosen) - slowed <= set(groups.everything())
    assert not slowed & set(groups.everything())  # time is not slowed for `--all`, which runs them by themselves


def test_what_is_left_out_exists_and_says_why() -> None:
    for test, why in groups.LEFT_OUT.items():
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test
        assert why


def test_where_it_cannot_run_one_line_says_why_and_nothing_is_made(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, ROOT / "tests/arm64/run", "--dry-run"], capture_output=True, text=True,
                          env={"PATH": str(tmp_path), "DOOR_CACHE": str(tmp_path / "cache")}, check=False, timeout=60)
    assert done.returncode == 77
    assert done.stdout.startswith("test-arm64 skipped: ")
    assert done.stdout.count("\n") == 1
    assert not done.stderr
    assert not list(tmp_path.iterdir())


def test_a_count_names_what_failed_and_why_others_were_skipped(tmp_path: Path) -> None:
    file = tmp_path / "packs.xml"
    file.write_text('<testsuites><testsuite><testcase classname="tests.test_a" name="test_one"/>'
                    '<testcase classname="tests.test_a" name="test_two"><failure message="x"/></testcase>'
                    '<testcase classname="tests.test_a" name="test_four"><error message="x"/></testcase>'
                    '<testcase classname="tests.test_a" name="test_three"><skipped message="no  Chrome"/></testcase>'
                    '</testsuite></testsuites>')
    found = tally.read(file, 1) + tally.read(file, 1)
    assert (found.passed, len(found.failed), found.skipped) == (2, 4, {"no Chrome": 2})
    assert found.failed[0] == "tests.test_a::test_two"
    assert str(found) == "2 passed, 4 failed, 2 skipped"


@pytest.mark.parametrize("text", [None, "", "<testsuites/>", "<testsuites><testsuite>"])
def test_a_run_that_ended_before_its_first_test_has_failed(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "packs.xml"
    if text is not None:
        file.write_text(text)
    assert tally.read(file, -11).failed == ("packs: pytest ended with -11 and no word of its tests; see its log",)


def test_vectors_are_near_by_the_greatest_difference_of_any_value() -> None:
    one = [0.5, -0.5, 100.0]
    (same,) = tally.distances({"mesh": one, "other": one}, {"mesh": [0.5, -0.5, 100.0001]})
    assert same.is_near
    assert same.cosine == pytest.approx(1.0)
    for far in ([0.5, -0.5, 100.01], [0.5, -0.5], [0.5, -0.5, math.nan]):
        (found,) = tally.distances({"mesh": one}, {"mesh": far})
        assert not found.is_near, far

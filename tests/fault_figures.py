"""Figures that fault tests state: told at the end of a run, and kept for the table with DOOR_WRITE_FIGURES set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from string import ascii_lowercase

import pytest

Figure = Callable[[str, str], None]
KEPT = Path(__file__).parent / "figures" / "faults.json"
STATED = pytest.StashKey[dict[str, str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Iterator[Figure]:
    """figure(row of the table, what was counted): kept only where the test goes on to pass. A row of which several
    tests count something has letters: F4, F4b."""
    told: dict[str, str] = {}
    failed = request.session.testsfailed
    yield told.__setitem__
    if request.session.testsfailed == failed:
        request.config.stash.setdefault(STATED, {}).update(told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    stated = config.stash.get(STATED, {})
    if not stated:
        return
    terminalreporter.section("faults")
    for row, said in in_order(stated):
        terminalreporter.write_line(f"{row:<4} {said}")
    if os.environ.get("DOOR_WRITE_FIGURES"):
        kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
        KEPT.write_text(json.dumps(dict(in_order(kept | stated)), ensure_ascii=False, indent=2) + "\n",
                        encoding="utf-8")


def in_order(figures: dict[str, str]) -> list[tuple[str, str]]:
    """As the table has its rows: F4, F4b, F10."""
    return sorted(figures.items(), key=lambda one: (int(one[0][1:].rstrip(ascii_lowercase)), one[0]))

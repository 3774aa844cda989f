"""Figures that fault tests state: told at the end of a run, and kept for the table with DOOR_WRITE_FIGURES set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Figure = Callable[[str, str], None]
KEPT = Path(__file__).parent / "figures" / "faults.json"
STATED = pytest.StashKey[dict[str, str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Iterator[Figure]:
    """figure(row of the table, what was counted): kept only where the test goes on to pass."""
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
    for row, said in sorted(stated.items(), key=lambda one: int(one[0][1:])):
        terminalreporter.write_line(f"{row:<4} {said}")
    if os.environ.get("DOOR_WRITE_FIGURES"):
        kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
        ordered = sorted((kept | stated).items(), key=lambda one: int(one[0][1:]))
        KEPT.write_text(json.dumps(dict(ordered), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

"""The table of reasons holds every code that the program uses, with everything a code needs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import device
from device.door.reasons import REASONS, Reason, entry, reason
from device.door.transitions import TABLE
from device.hardware.signals import LIGHTS, SOUNDS

SOURCES = sorted(Path(device.__file__).parent.rglob("*.py"))
# Calls that take a code, and where: position or keyword.
TAKES_CODE = {"Signal": 0, "entry": 0, "note": 0, "reason": 0, "Degraded": 1, "Decision": 1, "NewEntry": 1,
              "decision_note": 1}


def codes_used(source: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in TAKES_CODE or (name == "reason" and "door" not in source.parts):
            continue
        given = [keyword.value for keyword in node.keywords if keyword.arg in ("reason", "code", "reason_if_none")]
        given += node.args[TAKES_CODE[name]:TAKES_CODE[name] + 1]
        for value in given:
            found |= {part.value for part in ast.walk(value) if isinstance(part, ast.Constant)
                      and isinstance(part.value, str) and part.value}
    return found


def test_every_code_used_in_the_program_is_in_the_table() -> None:
    used = {code: source.name for source in SOURCES for code in codes_used(source)}
    assert len(used) > 15  # the search itself works
    assert {code: where for code, where in used.items() if code not in REASONS} == {}


def test_the_policys_and_the_transitions_codes_are_in_the_table() -> None:
    from device.door import entitlement, policy

    codes = {*entitlement.RANK, *policy._TRY_KEYS, *policy._GRANTED.values(), "combined_granted", "exit_granted",
             "lockout_alarm", "blocked_seen", "duress", "passback_violated", "company_needed", "escort_needed",
             "pass_elsewhere", "pass_used", "pass_revoked", *(row.reason for row in TABLE if row.reason)}
    assert codes <= set(REASONS)


@pytest.mark.parametrize("row", REASONS.values(), ids=lambda row: row.code)
def test_every_row_is_complete_and_fits_the_screen(row: Reason) -> None:
    assert row.kind
    assert row.door
    assert 0 < len(row.en) <= 32
    assert 0 < len(row.zh) <= 12
    assert any("\u4e00" <= letter <= "\u9fff" for letter in row.zh)
    assert row.light in {"", *LIGHTS}
    assert row.sound in {"", *SOUNDS}


def test_no_code_appears_twice() -> None:
    from device.door import reasons

    assert len(REASONS) == len(reasons._ROWS)


def test_text_follows_the_language() -> None:
    assert reason("unknown_face").text("zh") == "未识别"
    assert reason("unknown_face").text("en") == "Not recognised"


def test_an_entry_is_filed_under_the_tables_kind_and_drops_what_is_none() -> None:
    made = entry("face_granted", "ab" * 16, score=0.71, rule=None)
    assert (made.kind, made.reason, made.detail) == ("release", "face_granted", (("score", 0.71),))

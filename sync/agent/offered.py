"""The release that the hub offered last and how far it is, kept in the spool over restarts.

    offered.json  {"version": 1, "number", "rollout_id", "release", "state", "why", "before"}

Only the intake writes it. Nothing here is a matter of trust: a wrong file can delay an update, not make one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from device.update.disk import write_durably

VERSION = 1
DOWNLOADING, WAITING, TRYING, APPLIED, FAILED = "downloading", "waiting", "trying", "applied", "failed"
NONE = ""
WITH_THE_UPDATER = (WAITING, TRYING)


@dataclass(frozen=True, slots=True)
class Offered:
    """number: of the newest offer heard of; state: one of those above, empty where nothing is offered; before: what
    the outcome's file was when the bundle was handed over, by its hash."""

    number: int = 0
    rollout_id: str = ""
    release: str = ""
    state: str = NONE
    why: str = ""
    before: str = ""


def read_offered(spool: Path) -> Offered:
    """Nothing offered where there is no file, or none that can be used."""
    try:
        found = json.loads(_path(spool).read_bytes())
        offered = Offered(**{field.name: found[field.name] for field in fields(Offered)})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Offered()
    texts = (offered.rollout_id, offered.release, offered.state, offered.why, offered.before)
    is_whole = found["version"] == VERSION and type(offered.number) is int and all(type(one) is str for one in texts)
    return offered if is_whole else Offered()


def write_offered(spool: Path, offered: Offered) -> None:
    """Durable when it returns; OSError where it cannot be written."""
    write_durably(_path(spool), json.dumps({"version": VERSION, **asdict(offered)}).encode() + b"\n", 0o640)


def mark_of(outcome: Path) -> str:
    """By what one outcome's file is told from the next; empty where there is none."""
    try:
        return hashlib.sha256(outcome.read_bytes()).hexdigest()
    except OSError:
        return ""


def _path(spool: Path) -> Path:
    return spool / "offered.json"

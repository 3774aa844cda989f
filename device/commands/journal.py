"""`doorctl journal`: what happened at this door, for people and for machines, and whether the record is whole."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from device.commands.console import Progress, say, say_json
from device.door.reasons import REASONS
from device.errors import UsageError
from device.store.chain import write_at
from device.store.journal import JournalReader
from device.store.places import places
from device.store.records import Entry


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "journal", help="show or verify what happened at this door",
        description="Show the newest entries of the journal, or verify its hash chain.",
        epilog="example: doorctl journal --last 50; doorctl journal verify")
    parser.add_argument("action", nargs="?", choices=("show", "verify"), default="show",
                        help="show the newest entries (default), or verify all of them")
    parser.add_argument("--last", type=int, default=20, metavar="N", help="how many entries to show (default 20)")
    parser.add_argument("--file", type=Path, metavar="FILE", help="another journal, e.g. one that was set aside")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the reasons' texts")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 shown or sound; StoreError and JournalBroken say what is wrong."""
    if arguments.last < 1:
        raise UsageError(f"--last must be 1 or more, not {arguments.last}")
    reader = JournalReader.open(arguments.file or places().journal_db)
    try:
        return _verify(reader, arguments) if arguments.action == "verify" else _show(reader, arguments)
    finally:
        reader.close()


def line(entry: Entry, language: str = "en") -> str:
    """One entry as people read it: when (UTC), number, kind, the reason's text, person id, details."""
    known = REASONS.get(entry.reason)
    parts = [f"{entry.at:%Y-%m-%d %H:%M:%S}Z", f"#{entry.seq}", entry.kind.ljust(8),
             known.text(language) if known else entry.reason]
    if entry.person_id:
        parts.append(f"person {entry.person_id}")
    parts += [f"{key}={_short(value)}" for key, value in entry.detail]
    # A journal that was tampered with must not steer the terminal window it is read in.
    return "".join(sign if sign.isprintable() else "?" for sign in "  ".join(parts))


def _show(reader: JournalReader, arguments: argparse.Namespace) -> int:
    entries = reader.last(arguments.last)
    if arguments.json:
        say_json([_document(entry) for entry in entries])
        return 0
    for entry in entries:
        say(line(entry, arguments.language))
    if not entries:
        say("the journal is empty")
    return 0


def _verify(reader: JournalReader, arguments: argparse.Namespace) -> int:
    progress = Progress("entries verified", reader.head - reader.anchor)
    try:
        count = reader.verify(progress.step)
    finally:
        progress.close()
    if arguments.json:
        say_json({"journal_id": reader.journal_id, "verified": count, "pruned": reader.anchor})
    else:
        pruned = f"; {reader.anchor} older ones were pruned" if reader.anchor else ""
        say(f"the chain is whole: {count} entries verified{pruned}")
    return 0


def _document(entry: Entry) -> dict[str, Any]:
    return {
        "journal_id": entry.journal_id, "seq": entry.seq, "at": write_at(entry.at), "mono": entry.mono,
        "boot_id": entry.boot_id, "clock_quality": entry.clock_quality, "kind": entry.kind, "reason": entry.reason,
        "person_id": entry.person_id, "detail": dict(entry.detail), "prev_hash": entry.prev_hash, "hash": entry.hash,
    }


def _short(value: str | int | float | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

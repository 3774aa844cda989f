"""`doorctl journal`: what happened at this door, for people and for machines, and whether the record is whole."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from device.commands.console import Progress, say, say_json
from device.commands.opened import gallery_reader
from device.door.reasons import REASONS
from device.errors import StoreError, UsageError
from device.spreadsheet import Cell, write_table
from device.store.chain import write_at
from device.store.journal import JournalReader
from device.store.places import places
from device.store.records import Entry


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "journal", help="show, verify or export what happened at this door",
        description="Show the newest entries of the journal, verify its hash chain, or export it for a spreadsheet.",
        epilog="example: doorctl journal --last 50; doorctl journal verify; doorctl journal export march.xlsx "
               "--since 2026-03-01 --until 2026-04-01 --names")
    parser.add_argument("action", nargs="?", choices=("show", "verify", "export"), default="show",
                        help="show the newest entries (default), verify all of them, or export them")
    parser.add_argument("target", nargs="?", type=Path, metavar="OUT", help="of export: a .csv or .xlsx file")
    parser.add_argument("--since", metavar="DAY", help="of export: from this day on, UTC")
    parser.add_argument("--until", metavar="DAY", help="of export: up to this day, UTC, itself left out")
    parser.add_argument("--names", action="store_true",
                        help="of export: a column with the names of those who are still enrolled")
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
        if arguments.action == "export":
            return _export(reader, arguments)
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
    entries = reader.last(min(arguments.last, reader.head))
    if arguments.json:
        say_json([_document(entry) for entry in entries])
        return 0
    for entry in entries:
        say(line(entry, arguments.language))
    if not entries:
        say("the journal is empty")
    return 0


def _verify(reader: JournalReader, arguments: argparse.Namespace) -> int:
    try:
        with contextlib.closing(Progress("entries verified", reader.head - reader.anchor)) as progress:
            count = reader.verify(progress.step)
    except StoreError as error:
        if not arguments.json:
            raise
        say_json({"journal_id": reader.journal_id, "is_whole": False, "fault": str(error)})
        return error.exit_code
    if arguments.json:
        say_json({"journal_id": reader.journal_id, "is_whole": True, "verified": count, "pruned": reader.anchor})
    else:
        pruned = f"; {reader.anchor} older ones were pruned" if reader.anchor else ""
        say(f"the chain is whole: {count} entries verified{pruned}")
    return 0


HEADING = ("time", "number", "kind", "reason", "text", "person", "name", "methods", "rule", "score", "threshold",
           "detail", "clock", "boot", "journal")
_OWN_COLUMN = ("methods", "rule", "score", "threshold")


def row_of(entry: Entry, language: str, name: str = "") -> list[Cell]:
    """One entry as a row under HEADING."""
    known, detail = REASONS.get(entry.reason), dict(entry.detail)
    rest = " ".join(f"{key}={_short(value)}" for key, value in entry.detail if key not in _OWN_COLUMN)
    return [entry.at.isoformat(), entry.seq, entry.kind, entry.reason,
            known.text(language) if known else entry.reason, entry.person_id or "", name,
            *(detail.get(column) for column in _OWN_COLUMN), rest, entry.clock_quality, entry.boot_id,
            entry.journal_id]


def _export(reader: JournalReader, arguments: argparse.Namespace) -> int:
    if arguments.target is None:
        raise UsageError("name the file to write: doorctl journal export OUT.csv or OUT.xlsx")
    since, until = _day(arguments.since, "--since"), _day(arguments.until, "--until")
    names = _names() if arguments.names else {}
    progress = Progress("entries exported", reader.head - reader.anchor)

    def rows() -> Iterator[list[Cell]]:
        for entry in all_entries(reader):
            progress.step()
            if (since is None or entry.at >= since) and (until is None or entry.at < until):
                yield row_of(entry, arguments.language, names.get(entry.person_id or "", ""))

    try:
        count = write_table(arguments.target, HEADING, rows())
    finally:
        progress.close()
    say(f"{arguments.target}: {count} entries")
    return 0


def all_entries(reader: JournalReader) -> Iterator[Entry]:
    """Every entry, oldest first, a thousand at a time."""
    after = reader.anchor
    while entries := reader.entries(after):
        after = entries[-1].seq
        yield from entries


def _day(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    except ValueError:
        raise UsageError(f"{name} {text[:20]!r} is no day like 2026-03-01") from None


def _names() -> dict[str, str]:
    with gallery_reader() as gallery:
        return {person.person_id: person.label for person in gallery.people()} if gallery is not None else {}


def _document(entry: Entry) -> dict[str, Any]:
    return {
        "journal_id": entry.journal_id, "seq": entry.seq, "at": write_at(entry.at), "mono": entry.mono,
        "boot_id": entry.boot_id, "clock_quality": entry.clock_quality, "kind": entry.kind, "reason": entry.reason,
        "person_id": entry.person_id, "detail": dict(entry.detail), "prev_hash": entry.prev_hash, "hash": entry.hash,
    }


def _short(value: str | int | float | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

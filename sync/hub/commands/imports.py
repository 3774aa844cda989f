"""`fleethub import`: many people at once, from a list with pictures or from a folder of pictures."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device.commands.console import Progress, say, say_json
from device.errors import EnrolmentRefused, UsageError
from sync.hub.commands.opened import add_json, moment, read_file, the_hub, zone_of
from sync.hub.commands.person import add_consent
from sync.hub.importing import MOST_CSV_BYTES, NEEDED, OPTIONAL, Importer, Outcome, Row, read_csv, rows_of_folder
from sync.hub.pictures import Folder, Zip

COLUMNS = ("line", "photo", "state", "reason", "person_id", "quality")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "import", help="enrol many people from a list with pictures, or from a folder",
        description=f"A list is CSV (UTF-8 or GBK) whose first line names its columns: {', '.join(NEEDED)}, and if "
                    f"wanted {', '.join(OPTIONAL)}. A folder holds one picture per person, named like the person, or "
                    "one folder of pictures per person. Each person is enrolled whole or not at all; run it again "
                    "and it goes on where it stopped.",
        epilog="example: fleethub import staff.csv --pictures staff.zip --group staff --report report.csv")
    parser.add_argument("source", type=Path, metavar="LIST.csv|FOLDER")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER|ZIP", help="of a list (default: the list's folder)")
    parser.add_argument("--group", action="append", default=[], metavar="GROUP", help="of rows that name none")
    parser.add_argument("--zone", default="+00:00", metavar="+HH:MM", help="of times without one (default +00:00)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what became of each picture as CSV")
    add_consent(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 all enrolled, now or before; 1 where some were refused."""
    zone = zone_of(arguments.zone)
    rows, pictures = _from_folder(arguments) if arguments.source.is_dir() else _from_list(arguments)
    progress = Progress("enrolling", len(rows))
    done: list[Outcome] = []
    line = 0
    with the_hub(arguments) as hub:
        importer = Importer(hub.storage, hub.vault, hub.people, hub.enroller, hub.clock)
        for outcome in importer.run(rows, pictures, arguments.group, zone):
            done.append(outcome)
            if not arguments.json and outcome.state == "refused":
                say(f"line {outcome.line}  {outcome.photo}  refused: {outcome.reason}")
            if outcome.line != line:
                progress.step()
                line = outcome.line
    progress.close()
    if arguments.report:
        write_report(arguments.report, done)
    counts = {state: sum(one.state == state for one in done) for state in ("enrolled", "skipped", "refused")}
    if arguments.json:
        say_json({**counts, "pictures": [{name: getattr(one, name) for name in COLUMNS} for one in done]})
    else:
        say(f"{counts['enrolled']} pictures enrolled, {counts['skipped']} imported before, "
            f"{counts['refused']} refused")
    return 1 if counts["refused"] else 0


def write_report(path: Path, outcomes: Iterable[Outcome]) -> None:
    """One line per picture, as CSV that a spreadsheet opens and takes for text."""
    try:
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for one in outcomes:
                writer.writerow([guarded(getattr(one, name)) for name in COLUMNS])
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None


def guarded(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _from_list(arguments: argparse.Namespace) -> tuple[list[Row], Folder | Zip]:
    rows = read_csv(read_file(arguments.source, MOST_CSV_BYTES))
    if arguments.consent:
        raise UsageError("a list states each person's consent in its own columns; leave --consent out")
    where = arguments.pictures or arguments.source.absolute().parent
    return rows, Folder(where) if where.is_dir() else Zip(where)


def _from_folder(arguments: argparse.Namespace) -> tuple[list[Row], Folder]:
    if arguments.consent is None:
        raise EnrolmentRefused("no face is enrolled without consent: add --consent paper --consent-given DATE once "
                               "every person in the folder has agreed")
    if arguments.consent_given is None:
        raise UsageError("add --consent-given: when these people agreed")
    if arguments.pictures is not None:
        raise UsageError("--pictures goes with a list; a folder holds its pictures itself")
    zone = zone_of(arguments.zone)
    shared = {"consent_means": arguments.consent, "consent_given": moment(arguments.consent_given, zone).isoformat()}
    if arguments.consent_until:
        shared["consent_until"] = moment(arguments.consent_until, zone).isoformat()
    folder = Folder(arguments.source)
    return rows_of_folder(folder.names(), shared), folder



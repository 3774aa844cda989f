"""What is wrong with a terminal and what to do about it, from what it says of itself and from its files.

Used by `doorctl doctor` and for the bundle for support. It changes nothing and may be asked at any time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.config import DEFAULT_PATH, Config, read_config
from device.door.reasons import REASONS
from device.errors import TerminalError
from device.findings import Finding, Verdict
from device.hardware.pins import VARIABLE
from device.link import read_link
from device.status import running_status, status_path
from device.store.journal import JournalReader
from device.store.nameplate import Nameplate
from device.store.places import Places, is_linked, link_path
from device.store.sqlite import sqlite_warning

LEAST_FREE_MB = 200
HOT_C = 80.0
MOST_WAITING = 5000
THERMAL = Path("/sys/class/thermal")

REMEDIES = {
    "gallery_empty": "enrol somebody, or look at `door-syncd status`",
    "gallery_rebuilt": "enrol again, or wait for the hub's snapshot; the damaged file lies beside it",
    "gallery_unreadable": "look at the disk and at the rights of the gallery's folder",
    "model_mismatch": "doorctl models verify; then doorctl models build",
    "no_passive_network": "doorctl models build fetches the liveness networks; until then every visitor is asked for "
                          "a gesture",
    "liveness_drifted": "doorctl commission, or the wizard of the installer's page: light, camera or its place have "
                        "changed",
    "camera_lost": "check the camera's cable and power, and [camera] in terminal.toml",
    "camera_frozen": "the camera sends one picture over and over: power it off and on",
    "camera_dark": "switch a light on; is the lens covered?",
    "camera_bright": "turn the camera from the sun or the lamp",
    "camera_covered": "look at what is before the lens",
    "infrared_lost": "check the infrared camera's cable",
    "vision_silent": "doord ends itself after 5 s of it and is started again; look at its log where that repeats",
    "journal_failed": "make room on the disk; look whether it has become read-only",
    "journal_set_aside": "send the file that was set aside to whoever looks after the terminal",
    "disk_full": "make room on the disk: the journal's reserve is being used",
    "relay_lost": "look at door-relay's log and at its pin",
    "rex_stuck": "look at the exit button",
    "input_chatters": "look at the wired inputs' contacts and cables",
    "reader_lost": "look at the reader's cable and power; the journal says which one",
    "controller_lost": "look at the line to the access controller",
    "hub_silent": "look at the network and at the hub; the door goes on with whom it knows",
    "clock_lost": "give the terminal a time server or the hub; nobody is let in by the hour until then",
}


def examine(where: Places, clock: Clock, config_path: Path = DEFAULT_PATH,
            environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Everything that can be seen from outside doord."""
    given = os.environ if environment is None else environment
    config = _config(config_path)
    findings = [config if isinstance(config, Finding) else Finding("configuration", Verdict.OK, str(config_path))]
    findings += _daemon(where, clock)
    findings += _link()
    findings += _machine(where, given)
    findings += _journal(where)
    if warning := sqlite_warning():
        findings.append(Finding("sqlite", Verdict.WARN, warning))
    return findings


def _config(path: Path) -> Config | Finding:
    try:
        return read_config(path)
    except TerminalError as error:
        return Finding("configuration", Verdict.FAIL, str(error))


def _daemon(where: Places, clock: Clock) -> Iterator[Finding]:
    found = running_status(status_path(where), clock)
    if found is None:
        yield Finding("doord", Verdict.FAIL, "does not run: systemctl start doord; then journalctl -u doord")
        return
    yield Finding("doord", Verdict.OK, f"runs: door {found.get('door_id')}, {found.get('phase')}, mode "
                  f"{found.get('mode')}")
    for reason in found.get("degraded", []):
        row = REASONS.get(reason)
        yield Finding(str(reason)[:40], Verdict.FAIL, f"{row.en if row else 'a fault'}: "
                      f"{REMEDIES.get(reason, 'see the journal')}")
    if found["foreign"]:
        yield Finding("gallery", Verdict.WARN, f"{found['foreign']} templates are of another model and are not "
                      f"compared: enrol these people again, or set face.pack to that model")
    if not found.get("fpir_met", True):
        yield Finding("threshold", Verdict.WARN, "the error budget cannot be met with so many people: demand card or "
                      "PIN as well, or set face.fpir higher")
    waiting = found.get("outbox", 0)
    if isinstance(waiting, int) and waiting > MOST_WAITING and is_linked():
        yield Finding("outbox", Verdict.WARN, f"{waiting} events wait for the hub: look at `door-syncd status`")


def _link() -> Iterator[Finding]:
    if not is_linked():
        yield Finding("hub", Verdict.OK, "none: this terminal stands alone")
        return
    try:
        link = read_link(link_path())
        yield Finding("hub", Verdict.OK, f"terminal {link.terminal_id} of site {link.site}, broker "
                      f"{link.broker_host}:{link.broker_port}")
    except TerminalError as error:
        yield Finding("hub", Verdict.FAIL, str(error))


def _machine(where: Places, environment: Mapping[str, str]) -> Iterator[Finding]:
    root = where.root if where.root.exists() else Path("/")
    free = shutil.disk_usage(root).free // 2**20
    yield Finding("disk", Verdict.OK if free >= LEAST_FREE_MB else Verdict.FAIL, f"{free} MiB free in {root}"
                  + ("" if free >= LEAST_FREE_MB else "; make room"))
    hottest = max(_temperatures(), default=None)
    if hottest is not None:
        is_cool = hottest < HOT_C
        yield Finding("temperature", Verdict.OK if is_cool else Verdict.WARN, f"{hottest:.0f} °C"
                      + ("" if is_cool else "; the board slows down: give it air"))
    if environment.get(VARIABLE) == "mock":
        yield Finding("pins", Verdict.WARN, f"{VARIABLE}=mock: no wire is moved")


def _temperatures() -> list[float]:
    found = []
    for path in sorted(THERMAL.glob("thermal_zone*/temp")):
        try:
            found.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return found


def _journal(where: Places) -> Iterator[Finding]:
    if where.journal_db.exists() or Nameplate(where.journal_db).read() is not None:
        yield _guarded("journal", lambda: _read(where))
    else:
        yield Finding("journal", Verdict.WARN, "is not there yet; it is made when doord starts")
    aside = [path for folder in (where.journal_db.parent, where.gallery_db.parent)
             for path in sorted(folder.glob("*.aside-*"))]
    if aside:
        yield Finding("set aside", Verdict.WARN, f"{len(aside)} damaged files, the newest {aside[-1].name}: send "
                      "them to whoever looks after the terminal, then remove them")


def _read(where: Places) -> str:
    journal = JournalReader.open(where.journal_db)
    try:
        journal.check_tail()
        return f"{journal.head - journal.anchor} entries, the newest are sound"
    finally:
        journal.close()


def _guarded(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, Verdict.OK, check())
    except TerminalError as error:
        return Finding(name, Verdict.FAIL, str(error))


def as_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    return [{"name": one.name, "verdict": one.verdict.value, "said": one.said} for one in findings]

"""A bundle for whoever helps from afar: how the terminal is, and nothing of anybody's face, name, card, PIN or key.

What goes in is listed here, file by file; nothing else is taken. Person ids in journal entries are replaced by
numbers that hold within the bundle only, so that two entries about one person can be seen to be, and nobody can be
looked up.
"""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.config import DEFAULT_PATH, read_config
from device.errors import StoreError, TerminalError
from device.observe.doctor import as_rows, examine
from device.status import read_status, status_path
from device.store.chain import write_at
from device.store.journal import JournalReader
from device.store.places import Places
from device.store.records import Entry

ENTRIES = 1000
LOG_LINES = 2000
MOST_LOG = 2_000_000
UNITS = ("doord", "door-relay", "door-syncd", "door-update")
_ID = re.compile(r"\b[0-9a-f]{32}\b")


def write_bundle(path: Path, where: Places, clock: Clock, config_path: Path = DEFAULT_PATH) -> list[str]:
    """The names of what was put in. StoreError where the file cannot be written."""
    parts: dict[str, Callable[[], str]] = {
        "machine.json": lambda: _json(_machine()),
        "status.json": lambda: _json(read_status(status_path(where)) or {}),
        "doctor.json": lambda: _json(as_rows(examine(where, clock, config_path))),
        "configuration.json": lambda: _json(_configuration(config_path)),
        "journal.jsonl": lambda: _journal(where),
        **{f"log-{unit}.txt": lambda unit=unit: _log(unit) for unit in UNITS},  # type: ignore[misc]
    }
    written = []
    try:
        with tarfile.open(path, "w:gz") as tar:
            for name, made in parts.items():
                _add(tar, name, _made(made), clock)
                written.append(name)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; name a file in a folder that can be written") from None
    return written


def _made(part: Callable[[], str]) -> str:
    """A part that cannot be made says why: the rest is wanted all the same."""
    try:
        return part()
    except (TerminalError, OSError, subprocess.SubprocessError) as error:
        return f"not to be had: {str(error).splitlines()[0] if str(error) else type(error).__name__}\n"


def _add(tar: tarfile.TarFile, name: str, text: str, clock: Clock) -> None:
    data = text.encode()
    info = tarfile.TarInfo(f"open-door-support/{name}")
    info.size, info.mtime, info.mode = len(data), int(clock.now().timestamp()), 0o600
    tar.addfile(info, io.BytesIO(data))


def _machine() -> dict[str, Any]:
    from importlib.metadata import distributions

    packages = {dist.metadata["Name"]: dist.version for dist in distributions()}
    return {"system": platform.platform(), "machine": platform.machine(), "python": platform.python_version(),
            "board": _text(Path("/proc/device-tree/model")), "packages": dict(sorted(packages.items()))}


def _configuration(path: Path) -> dict[str, Any]:
    """Every key but those that may hold a password or an address with one."""
    found = asdict(read_config(path))
    for section, keys in (("camera", ("source", "infrared")), ("kiosk", ("contact",))):
        for key in keys:
            found[section][key] = None if found[section][key] is None else "left out"
    return found


def _journal(where: Places) -> str:
    journal = JournalReader.open(where.journal_db)
    try:
        numbers: dict[str, str] = {}
        return "".join(json.dumps(_entry(entry, numbers), ensure_ascii=False) + "\n"
                       for entry in journal.last(ENTRIES))
    finally:
        journal.close()


def _entry(entry: Entry, numbers: dict[str, str]) -> dict[str, Any]:
    person = None if entry.person_id is None else numbers.setdefault(entry.person_id, f"person-{len(numbers) + 1}")
    detail = {key: _ID.sub(lambda found: numbers.setdefault(found[0], f"id-{len(numbers) + 1}"), value)
              if isinstance(value, str) else value for key, value in entry.detail}
    return {"seq": entry.seq, "at": write_at(entry.at), "mono": entry.mono, "boot": entry.boot_id[:8],
            "clock": entry.clock_quality, "kind": entry.kind, "reason": entry.reason, "person": person,
            "detail": detail}


def _log(unit: str) -> str:
    result = subprocess.run(["journalctl", "--no-pager", "-o", "short-iso", "-n", str(LOG_LINES), "-u", unit],
                            capture_output=True, timeout=30, check=False)
    return _ID.sub("(id)", result.stdout[-MOST_LOG:].decode(errors="replace"))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"

"""doord's journal as door-syncd sees it: what is new in it, and what that says about doord.

Read-only. The file may be set aside and begun anew at any time; then the watch begins with the new one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from device.errors import StoreError
from device.store.journal import JournalReader
from device.store.records import Entry

log = logging.getLogger(__name__)

LOOK_BACK = 5000  # entries that are read at the start, for what they say
AT_ONCE = 1000
PATIENT_POLLS = 20
DESIRED = "desired-"  # what doord calls the command by which it obeys a desired state

_DONE = ("command_release", "reset", "command_done")
_REFUSED = "command_refused"


@dataclass(slots=True)
class Said:
    """What the journal has told so far.

    generation  of the gallery that doord's matcher holds
    desired     the newest desired state that doord obeys
    config      the newest version of the configuration that it has taken over
    outcomes    command id -> (outcome, reason)
    """

    generation: int = 0
    desired: int = 0
    config: int = 0
    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)


class JournalWatch:
    """Owned by the agent's main thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reader: JournalReader | None = None
        self._inode = 0
        self._seen = 0
        self._failures = 0
        self.said = Said()

    def recall(self, kept: str) -> None:
        """What `remembered` gave before this start: the entries that said it may lie further back than is read."""
        words = kept.split()
        if len(words) == 2 and all(word.isdecimal() and len(word) < 20 for word in words):
            self.said.desired, self.said.config = int(words[0]), int(words[1])

    def remembered(self) -> str:
        """What must be known after a restart."""
        return f"{self.said.desired} {self.said.config}"

    def poll(self) -> bool:
        """Read what is new; whether anything was."""
        try:
            reader = self._opened()
            if reader is None or reader.head == self._seen:
                return False
            entries = reader.entries(self._seen, AT_ONCE)
        except StoreError as error:
            self._failed(error)
            return False
        self._failures = 0
        for entry in entries:
            self._hear(entry)
        if entries:
            self._seen = entries[-1].seq
        return bool(entries)

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def _opened(self) -> JournalReader | None:
        inode = self._path.stat().st_ino if self._path.exists() else 0
        if self.reader is not None and inode == self._inode:
            return self.reader
        self.close()
        if not inode:
            return None
        self.reader, self._inode = JournalReader.open(self._path), inode
        self._seen = max(self.reader.head - LOOK_BACK, self.reader.anchor)
        return self.reader

    def _hear(self, entry: Entry) -> None:
        detail = dict(entry.detail)
        generation, command, version = detail.get("generation"), detail.get("command"), detail.get("version")
        if entry.reason == "gallery_loaded" and isinstance(generation, int):
            self.said.generation = generation
        if entry.reason == "config_changed" and isinstance(version, int):
            self.said.config = version
        if not isinstance(command, str):
            return
        if command.startswith(DESIRED) and entry.kind == "mode":
            self.said.desired = max(self.said.desired, _number(command))
        elif entry.reason in _DONE:
            self._keep(command, "done", "")
        elif entry.reason == _REFUSED:
            self._keep(command, "refused", str(detail.get("why", "")))

    def _keep(self, command: str, outcome: str, reason: str) -> None:
        # The first outcome holds: a repetition that is refused does not undo what was done.
        self.said.outcomes.setdefault(command, (outcome, reason[:200]))
        while len(self.said.outcomes) > LOOK_BACK:
            del self.said.outcomes[next(iter(self.said.outcomes))]

    def _failed(self, error: StoreError) -> None:
        # doord may be making the file at this moment, and then it is half a journal.
        self._failures += 1
        if self._failures == PATIENT_POLLS:
            log.error("the journal cannot be read: %s", error)
        self.close()


def _number(command: str) -> int:
    digits = command.removeprefix(DESIRED).partition("-")[0]
    return int(digits) if digits.isdecimal() and len(digits) < 20 else 0

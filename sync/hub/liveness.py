"""Video liveness for remote checks: a random code of actions, and whether a clip shows a live person doing them.

The clip is judged by the terminal's own command in a process of its own, bounded in time: a hostile file can at worst
end that process. What is sent lies in the hub's run folder while it is judged, and nowhere afterwards.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.errors import StoreError, TerminalError
from device.face.pad.session import Session, Sessions
from sync.hub.errors import FieldRefused, InTheWay

log = logging.getLogger(__name__)

JUDGING_S = 90.0
"""A clip lasts 30 s at most, and a small machine looks at it about as long as it lasts."""

WAITING_S = 20.0
SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")
_DOORCTL = (sys.executable, "-c", "import sys; from device.cli import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a clip shows; reason, judges and likeness as `doorctl liveness` has them."""

    is_live: bool
    reason: str
    code: tuple[str, ...]
    done: tuple[str, ...]
    frames: int
    judges: dict[str, float | None]
    likeness: float | None


class CannotJudge(TerminalError):
    """This hub cannot judge any clip: it has no model pack."""


class VideoLiveness:
    """The service; any thread may use it. One clip is judged at a time, since it takes a core."""

    def __init__(self, run: Path, clock: Clock) -> None:
        self._folder = run / "video"
        # Where the command looks for its sessions, told DOOR_STATE.
        self._sessions = Sessions(self._folder / "liveness", clock, secrets.randbelow, lambda: secrets.token_hex(16))
        self._turn = threading.Lock()

    def open(self) -> Session:
        """A session: valid for five minutes, used once. StoreError where too many are open."""
        return self._sessions.open()

    def judge(self, session_id: str, name: str, clip: bytes, photo: bytes | None = None) -> Judged:
        """Whether the clip answers the session's code. FieldRefused where something sent cannot be used; InTheWay
        where other clips are being judged; CannotJudge where none can be; the session is spent once clip and photo
        could be read.

        name   the file's, of which only the ending matters
        photo  of the person whom the clip must show
        """
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            raise FieldRefused("clip", f"send a video: {', '.join(SUFFIXES)}")
        if not self._turn.acquire(timeout=WAITING_S):
            raise InTheWay("other clips are being judged; try again in a minute")
        stem = secrets.token_hex(8)
        sent = {f"clip-{stem}{suffix}": clip} | ({f"photo-{stem}": photo} if photo is not None else {})
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for file, content in sent.items():
                (self._folder / file).touch(0o600)
                (self._folder / file).write_bytes(content)
            return self._asked([self._folder / file for file in sent], session_id)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror or 'cannot be written'}") from None
        finally:
            for file in sent:
                (self._folder / file).unlink(missing_ok=True)
            self._turn.release()

    def _asked(self, sent: Sequence[Path], session_id: str) -> Judged:
        command = [*_DOORCTL, "liveness", str(sent[0]), f"--session={session_id}", "--json",
                   *(f"--expect={photo}" for photo in sent[1:])]
        environment = {**os.environ, "DOOR_STATE": str(self._folder)}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=JUDGING_S, check=False)
        except subprocess.TimeoutExpired:
            raise FieldRefused("clip", "it could not be judged in time; send at most 30 seconds") from None
        try:
            told: dict[str, Any] = json.loads(done.stdout)
            return Judged(told["live"], told["reason"], tuple(told["code"]), tuple(told["done"]), told["frames"],
                          told["judges"], told["likeness"])
        except (ValueError, KeyError, TypeError):
            raise _refusal(done.stderr.decode("utf-8", "replace"), [path.name for path in sent]) from None


def _refusal(words: str, sent: Sequence[str]) -> FieldRefused | CannotJudge:
    """The command's own line, without the names that the files had here; what is not about them or the session is the
    log's alone."""
    line = next((line for line in reversed(words.splitlines()) if line.startswith("doorctl:")), "")
    reason = line.removeprefix("doorctl:").strip()
    if not reason:
        return FieldRefused("clip", "it is no video that can be read")
    for name in sent:
        if name in reason:
            field = name.partition("-")[0]
            return FieldRefused(field, reason.replace(name, f"the {field}"))
    if "session" in reason:
        return FieldRefused("session_id", reason)
    log.error("a clip could not be judged: %s", reason)
    return CannotJudge("this hub cannot judge clips now; its log says why")

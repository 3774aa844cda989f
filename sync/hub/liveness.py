"""Video liveness for remote checks: a random code of actions, and whether a clip shows a live person doing them.

The clip is judged by the terminal's own command in a process of its own, bounded in time: a hostile file can at worst
end that process. It lies in the hub's run folder while it is judged, and nowhere afterwards.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.errors import StoreError
from device.face.pad.session import Session, Sessions
from sync.hub.errors import FieldRefused, InTheWay

JUDGING_S = 90.0
"""A clip lasts 30 s at most, and a small machine looks at it about as long as it lasts."""

WAITING_S = 20.0
SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")
_DOORCTL = (sys.executable, "-c", "import sys; from device.cli import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a clip shows; reason and judges as `doorctl liveness` has them."""

    is_live: bool
    reason: str
    code: tuple[str, ...]
    done: tuple[str, ...]
    frames: int
    judges: dict[str, float | None]


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

    def judge(self, session_id: str, name: str, clip: bytes) -> Judged:
        """Whether the clip answers the session's code. FieldRefused where either cannot be used; InTheWay where
        other clips are being judged; the session is spent once the clip could be read.

        name  the file's, of which only the ending matters
        """
        suffix = Path(name).suffix.lower()
        if suffix not in SUFFIXES:
            raise FieldRefused("clip", f"send a video: {', '.join(SUFFIXES)}")
        if not self._turn.acquire(timeout=WAITING_S):
            raise InTheWay("other clips are being judged; try again in a minute")
        path = self._folder / f"{secrets.token_hex(8)}{suffix}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(0o600)
            path.write_bytes(clip)
            return self._asked(path, session_id)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror or 'cannot be written'}") from None
        finally:
            path.unlink(missing_ok=True)
            self._turn.release()

    def _asked(self, path: Path, session_id: str) -> Judged:
        command = [*_DOORCTL, "liveness", str(path), f"--session={session_id}", "--json"]
        environment = {**os.environ, "DOOR_STATE": str(self._folder)}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=JUDGING_S, check=False)
        except subprocess.TimeoutExpired:
            raise FieldRefused("clip", "it could not be judged in time; send at most 30 seconds") from None
        try:
            told: dict[str, Any] = json.loads(done.stdout)
            return Judged(told["live"], told["reason"], tuple(told["code"]), tuple(told["done"]), told["frames"],
                          told["judges"])
        except (ValueError, KeyError, TypeError):
            raise self._refused(done.stderr.decode("utf-8", "replace"), path.name) from None

    @staticmethod
    def _refused(words: str, name: str) -> FieldRefused:
        """The command's own line, without the name that the clip had here."""
        line = next((line for line in reversed(words.splitlines()) if line.startswith("doorctl:")), "")
        reason = line.removeprefix("doorctl:").strip().replace(name, "the clip") or "it is no video that can be read"
        return FieldRefused("session_id" if "session" in reason else "clip", reason)

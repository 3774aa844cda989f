"""How commands speak: JSON on request, progress on a terminal for anything over a second."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from device.errors import TerminalError, UsageError

T = TypeVar("T")


class OutputLost(TerminalError, OSError):
    """Standard output takes nothing more."""


def say(text: str) -> None:
    """One line for the person who called; OutputLost where it cannot be written."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputLost(f"the output cannot be written: {error.strerror}") from None


def say_json(value: Any) -> None:
    """One JSON document, keys in the order given; pure ASCII where the output takes nothing else."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    say(json.dumps(value, ensure_ascii=not is_unicode, indent=2))


def ask(question: str) -> str:
    """What the person at the keyboard answers, in small letters; "" where the input ends instead."""
    try:
        return input(question).strip().lower()
    except EOFError:
        say("")  # the answer would have ended the line
        return ""


def ask_secret(what: str) -> str:
    """A secret typed twice unseen, or one line of standard input; UsageError where the two differ."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    secret = getpass.getpass(f"{what}: ")
    if getpass.getpass("once more: ") != secret:
        raise UsageError("the two are not the same; nothing was changed")
    return secret


class Progress:
    """A line on stderr that is rewritten as work goes on; silent where stderr is not a terminal.

    Shown only once a second has passed; `step` is cheap to call often.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._start = self._shown = time.monotonic()
        self._is_visible = False

    def step(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._start > 1.0 and now - self._shown > 0.2 and sys.stderr.isatty():
            self._shown, self._is_visible = now, True
            of = f"/{self._total}" if self._total else ""
            sys.stderr.write(f"\r{self._label} {self._done}{of}\033[K")
            sys.stderr.flush()

    def close(self) -> None:
        if self._is_visible:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def with_progress(label: str, items: Iterable[T], total: int | None = None) -> Iterator[T]:
    """The items, with progress shown while they are consumed."""
    progress = Progress(label, total)
    try:
        for item in items:
            yield item
            progress.step()
    finally:
        progress.close()

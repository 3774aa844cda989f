"""The spoken prompts: which there are, and where recordings of them lie that the installation made.

No speech is part of the product. The page speaks with the browser's own voice where it has one for the language;
Debian's Chromium often has none, so the installation may let `espeak-ng` read the prompts into WAV files once
(`record`), and the page plays those. Names are never spoken.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from device.door.reasons import REASONS, Severity
from device.errors import StoreError

SPOKEN = ("screen.", "hint.", "action.", "pin.enter", "pin.only", "enrol.pose_", "way.show_", "bell.rung",
          "attendance.kept")
"""Beginnings of the catalogue's keys that are said aloud."""

_VOICES = {"en": "en", "zh": "cmn"}
_SPEED = "150"  # words a minute; the default of 175 is hard to follow in a hall
_RECORDING_S = 20.0


def is_spoken(key: str) -> bool:
    """Whether the text of that key is said aloud; faults of the terminal and its doings are not."""
    if key.startswith("reason."):
        row = REASONS.get(key.removeprefix("reason."))
        return row is not None and row.severity is not Severity.FAULT and bool(row.sound)
    return key.startswith(SPOKEN)


def prompts(words: dict[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    """(language, text) of everything that is said; a text that holds a name is said without it."""
    for key, texts in words.items():
        if is_spoken(key):
            yield from ((language, spoken(text)) for language, text in texts.items())


def spoken(text: str) -> str:
    """The text as it is said: never with a name."""
    return text.replace(", {name}", "").replace("，{name}", "").replace("{name}", "").strip()


def recording(folder: Path, language: str, text: str) -> Path:
    """Where the recording of a text lies, named by what it says: a changed text has none until one is made."""
    return folder / language / (hashlib.sha256(text.encode()).hexdigest()[:24] + ".wav")


def record(folder: Path, words: dict[str, dict[str, str]], program: str = "espeak-ng") -> int:
    """Record what is missing; how many were. StoreError where the program is not there or fails."""
    made = 0
    for language, text in dict.fromkeys(prompts(words)):
        path = recording(folder, language, text)
        if not path.exists():
            _record(program, language, text, path)
            made += 1
    return made


def _record(program: str, language: str, text: str, path: Path) -> None:
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([program, "-v", _VOICES[language], "-s", _SPEED, "-w", str(fresh), "--", text],
                       capture_output=True, check=True, timeout=_RECORDING_S)
        fresh.replace(path)
    except FileNotFoundError:
        raise StoreError(f"{program} is missing: sudo apt-get install espeak-ng, or leave screen.voice off") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError(f"{program} could not record a prompt: {type(error).__name__}") from None

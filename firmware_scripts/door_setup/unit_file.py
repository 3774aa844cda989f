"""Unit files: read as systemd reads them, as far as the scripts need to."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from door_setup.plan import Stop
from door_setup.tree import Tree

FOLDER = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line; `section` without its brackets."""

    section: str
    key: str
    value: str


def settings(text: str) -> Iterator[Setting]:
    """The settings in order; Stop where a line is none."""
    section, kept = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or (not stripped and not kept):
            continue
        if stripped.endswith("\\"):
            kept += stripped[:-1].rstrip() + " "
            continue
        whole, kept = kept + stripped, ""
        if whole.startswith("[") and whole.endswith("]"):
            section = whole[1:-1]
            continue
        key, is_setting, value = whole.partition("=")
        if not is_setting or not key.strip().isidentifier() or not section:
            raise Stop(f"line {number} is no setting of a unit: {whole[:60]!r}")
        yield Setting(section, key.strip(), value.strip())


def with_dropins(tree: Tree, name: str) -> list[Setting]:
    """The settings of an installed unit and then of its drop-ins, in the order in which they count."""
    files = [tree.at(f"{FOLDER}/{name}"), *sorted(tree.at(f"{FOLDER}/{name}.d").glob("*.conf"))]
    return [setting for file in files for setting in settings(file.read_text(encoding="utf-8"))]


def values(found: list[Setting], key: str, section: str = "Service") -> list[str]:
    """All values of a setting that is a list; an empty one forgets those before it."""
    chosen: list[str] = []
    for setting in found:
        if (setting.section, setting.key) == (section, key):
            chosen = [*chosen, setting.value] if setting.value else []
    return chosen


def value(found: list[Setting], key: str, section: str = "Service") -> str:
    """The last value of a setting; empty where it is not set."""
    chosen = (setting.value for setting in reversed(found) if (setting.section, setting.key) == (section, key))
    return next(chosen, "")


def environment(tree: Tree, found: list[Setting]) -> dict[str, str]:
    """What Environment= and EnvironmentFile= set."""
    pairs = [word for line in values(found, "Environment") for word in shlex.split(line)]
    for file in values(found, "EnvironmentFile"):
        text = (tree.read(file.removeprefix("-")) or b"").decode()
        pairs += [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(pair.partition("=")[::2] for pair in pairs)


def command(found: list[Setting], surroundings: dict[str, str]) -> list[str]:
    """The words of ExecStart=, with $NAME as a word of its own split as systemd does."""
    words: list[str] = []
    for word in shlex.split(value(found, "ExecStart")):
        words += surroundings.get(word[1:], "").split() if word.startswith("$") else [word]
    return words

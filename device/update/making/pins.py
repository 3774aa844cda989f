"""Pins: the wheels that one kind of machine needs, chosen from a file of hashed requirements for every kind.

pip judges markers by the Python that it runs on, so they are judged here, for the machine that is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.markers import Marker

from device.errors import UsageError

_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.+!]+)"
                   r"(?:\s*;\s*(?P<marker>.+?))?(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)")

# Those of wheels from the oldest to those of the oldest system that is supported (Ubuntu 22.04, glibc 2.35).
_GLIBCS = range(5, 36)


@dataclass(frozen=True, slots=True)
class Target:
    """The kind of machine that a bundle is for: arch as `uname -m` has it, python as in "3.11"."""

    arch: str
    python: str

    @property
    def platforms(self) -> list[str]:
        """The platform tags of the wheels that run there, newest first."""
        return [*(f"manylinux_2_{glibc}_{self.arch}" for glibc in reversed(_GLIBCS)), f"manylinux2014_{self.arch}",
                f"linux_{self.arch}"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One package in one version, as any of the files with these hashes."""

    name: str
    version: str
    hashes: tuple[str, ...]

    def line(self) -> str:
        """As pip reads it; no marker, since it was judged."""
        return f"{self.name}=={self.version}" + "".join(f" \\\n    --hash=sha256:{value}" for value in self.hashes)


def pins_for(text: str, target: Target) -> list[Pin]:
    """The pins that apply there; UsageError where a line is anything but a hashed pin."""
    surroundings = {
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "os_name": "posix",
        "sys_platform": "linux", "platform_system": "Linux", "platform_machine": target.arch,
        "python_version": target.python, "python_full_version": f"{target.python}.0", "extra": ""}
    pins = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise UsageError(f"not a hashed pin: {line.strip()[:80]!r}")
        if found["marker"] is None or Marker(found["marker"]).evaluate(surroundings):
            hashes = tuple(re.findall(r"[0-9a-f]{64}", found["hashes"]))
            pins.append(Pin(found["name"], found["version"], hashes))
    return pins

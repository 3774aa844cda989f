"""Manifest: what a bundle says of the release in it; one of its signed targets."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from device.update.bundle import BundleRefused
from device.update.version import Version

PRODUCT = "open-door"
ARCHES = ("x86_64", "aarch64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
_HASH = re.compile(r"[0-9a-f]{64}")
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One release for one kind of machine.

    min_version          the oldest release that may be updated to this one
    arch, python         what it runs on, as `uname -m` and as in "3.11"
    built                when the bundle was made, UTC
    requirements_sha256  of requirements/terminal.txt, from which its wheels were chosen
    installed_bytes      what it takes up once installed, about
    """

    version: Version
    min_version: Version
    arch: str
    python: str
    built: datetime
    requirements_sha256: str
    installed_bytes: int

    @property
    def bundle_name(self) -> str:
        return f"open-door-{self.version}-{self.arch}-py{self.python}.bundle"

    def to_json(self) -> bytes:
        found = asdict(self) | {"product": PRODUCT, "version": str(self.version),
                                "min_version": str(self.min_version), "built": write_moment(self.built)}
        return json.dumps(found, sort_keys=True, indent=1).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """BundleRefused where it is no manifest, or another product's."""
    try:
        found = json.loads(data)
        manifest = _manifest(found)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleRefused(f"the bundle's manifest cannot be used: {str(error)[:100]}") from None
    if found["product"] != PRODUCT:
        raise BundleRefused(f"the bundle is for another product: {str(found['product'])[:40]!r}")
    return manifest


def read_moment(text: object) -> datetime:
    """ValueError where it is no moment like 2026-11-24T08:00:00Z."""
    if not isinstance(text, str):
        raise ValueError("a moment must be text")
    return datetime.strptime(text, _MOMENT).replace(tzinfo=timezone.utc)


def write_moment(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime(_MOMENT)


def python_of(value: object) -> str:
    """ValueError where it is none of the Pythons that a release may run on."""
    if value not in PYTHONS:
        raise ValueError(f"python {str(value)[:20]!r} is none of {', '.join(PYTHONS)}")
    return str(value)


def arch_of(value: object) -> str:
    """ValueError where it is no machine that a release may run on."""
    if value not in ARCHES:
        raise ValueError(f"arch {str(value)[:20]!r} is none of {', '.join(ARCHES)}")
    return str(value)


def hash_of(value: object) -> str:
    """ValueError where it is no SHA-256 in hex."""
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("a hash must be 64 hex digits")
    return value


def _manifest(found: dict[str, Any]) -> Manifest:
    wanted = {"product", *Manifest.__slots__}
    if set(found) != wanted:
        raise ValueError(f"it must name {', '.join(sorted(wanted))} and nothing else")
    size = found["installed_bytes"]
    if type(size) is not int or not 0 <= size < 10**11:
        raise ValueError("installed_bytes must be a number of bytes")
    return Manifest(Version.parse(found["version"]), Version.parse(found["min_version"]), arch_of(found["arch"]),
                    python_of(found["python"]), read_moment(found["built"]), hash_of(found["requirements_sha256"]),
                    size)

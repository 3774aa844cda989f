"""Archive: a terminal's configuration in one file, and nothing else.

A gzipped tar with `manifest.json` first, which names every other member with its size and SHA-256. What may be in it
is decided by name: terminal.toml, link.toml and drop-ins of the door's own units. Never a key, a certificate, the
gallery or the journal. An archive is read into memory within small bounds and judged as a whole before anything is
written.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from door_setup import unit_file
from door_setup.plan import Stop

VERSION = 1
MANIFEST = "manifest.json"
MOST_MEMBERS = 64
MOST_BYTES = 1 << 20  # of all members together, and of the archive itself
LONGEST = 256 << 10  # of one member
CONFIGURED = ("etc/door/terminal.toml", "etc/door/link.toml")
UNITS = ("doord", "door-relay", "door-syncd", "door-kiosk", "door-update", "fleethub")
GENERATED = ("backoff", "configured", "credentials")
"""Drop-ins that install and provision write, and write anew."""

_DROPIN = re.compile(rf"etc/systemd/system/({'|'.join(UNITS)})\.service\.d/([a-z0-9][a-z0-9-]{{0,40}})\.conf")
_SETTINGS = {
    "Unit": {"Description", "Documentation", "After", "Wants"},
    "Service": {"DeviceAllow", "Environment", "IPAddressAllow", "LogLevelMax", "MemoryHigh", "MemoryMax", "Nice",
                "OOMScoreAdjust", "RestartSec", "RestrictAddressFamilies", "SupplementaryGroups", "TimeoutStartSec",
                "WatchdogSec"},
}
"""What a drop-in from an archive may set. No command, account, or loosening of the file system: who hands over an
archive must not become root by it."""


def may_be(name: str) -> bool:
    """Whether a member of this name may be in an archive."""
    found = _DROPIN.fullmatch(name)
    return name in CONFIGURED or (found is not None and found[2] not in GENERATED)


def check_content(name: str, data: bytes) -> None:
    """Stop where a drop-in holds more than it may."""
    if name in CONFIGURED:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Stop(f"{name}: not text") from None
    for setting in unit_file.settings(text):
        if setting.key not in _SETTINGS.get(setting.section, set()):
            raise Stop(f"{name}: {setting.key}= is not taken from an archive; set it by hand on the terminal")


def pack(parts: Mapping[str, bytes], version: str) -> bytes:
    """The archive's bytes: the same for the same parts. version: of the release that it was made on."""
    described = [{"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                 for name, data in sorted(parts.items())]
    manifest = json.dumps({"version": VERSION, "release": version, "members": described}, indent=1).encode() + b"\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in ((MANIFEST, manifest), *sorted(parts.items())):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(buffer.getvalue()) + packer.flush()


def unpack(data: bytes) -> dict[str, bytes]:
    """Name -> content of a whole and lawful archive; Stop in one line for anything else."""
    if len(data) > MOST_BYTES:
        raise Stop(f"the archive is too large: at most {MOST_BYTES >> 10} KiB are read")
    found = _members(_inflated(data))
    try:
        described = _described(json.loads(found.pop(MANIFEST, b"null")))
    except (ValueError, RecursionError):
        raise Stop(f"the archive's {MANIFEST} cannot be read: it is damaged, or no backup of a terminal") from None
    if set(described) != set(found):
        odd = min(set(described) ^ set(found))
        raise Stop(f"the archive and its {MANIFEST} differ about {odd[:80]!r}: it was altered")
    for name, content in found.items():
        if described[name] != (len(content), hashlib.sha256(content).hexdigest()):
            raise Stop(f"{name} is not what {MANIFEST} says: the archive is damaged or was altered")
        check_content(name, content)
    return found


def _inflated(data: bytes) -> bytes:
    """The tar, never more than it may be, whatever the archive claims."""
    opener = zlib.decompressobj(31)
    try:
        raw = opener.decompress(data, MOST_BYTES + 1)
    except zlib.error:
        raise Stop("not a gzipped archive, or a damaged one") from None
    if len(raw) > MOST_BYTES:
        raise Stop(f"the archive holds more than {MOST_BYTES >> 10} KiB: it is no backup of a terminal")
    if not opener.eof or opener.unused_data:
        raise Stop("the archive is cut short, or something follows it")
    return raw


def _members(raw: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
            for member in tar:
                if len(found) == MOST_MEMBERS:
                    raise Stop(f"the archive has more than {MOST_MEMBERS} members: it is no backup of a terminal")
                name = _lawful(member, found)
                found[name] = _content(tar, member)
    except (tarfile.TarError, ValueError, OverflowError, EOFError):
        raise Stop("the archive is damaged") from None
    return found


def _lawful(member: tarfile.TarInfo, found: Mapping[str, bytes]) -> str:
    name = member.name
    if member.type != tarfile.REGTYPE:
        raise Stop(f"{name[:80]!r} is no ordinary file: links and devices are never taken from an archive")
    if name in found or (name != MANIFEST and not may_be(name)):
        raise Stop(f"{name[:80]!r} does not belong into a backup of a terminal")
    if member.size > LONGEST:
        raise Stop(f"{name}: larger than {LONGEST >> 10} KiB")
    return name


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    content = file.read(LONGEST + 1) if file is not None else b""
    if len(content) != member.size:
        raise Stop("the archive is cut short")
    return content


def _described(found: Any) -> dict[str, tuple[int, str]]:
    """Name -> (size, SHA-256); ValueError where the manifest has another form."""
    if not isinstance(found, dict) or set(found) != {"version", "release", "members"}:
        raise ValueError
    if found["version"] != VERSION or type(found["members"]) is not list:
        raise ValueError
    rows = {}
    for row in found["members"]:
        if not isinstance(row, dict) or set(row) != {"name", "size", "sha256"} or type(row["size"]) is not int:
            raise ValueError
        rows[str(row["name"])] = (row["size"], str(row["sha256"]))
    return rows

"""How this terminal stands with its hub: the link that was claimed, what door-syncd says of it, and, before any
claim, the serial and one-time code by which a hub takes it in.

The code is made here, has 100 random bits in letters that are not mistaken for one another, and lies in the state
folder until the terminal is linked: the installer shows it as a QR code, the hub's administrator scans it, and
door-syncd, the process with the network, claims with it. doord itself speaks to no hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from device.errors import ConfigError, StoreError
from device.link import read_link
from device.status import status_path
from device.store.places import Places, is_linked, link_path

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_LENGTH, _GROUP = 20, 5
_QUIET = 4  # modules of white around a QR code (ISO/IEC 18004)
_MOST_BYTES = 64_000


@dataclass(frozen=True, slots=True)
class Tie:
    """A terminal's tie to a hub, or that there is none.

    silent_s  since the hub was heard; waiting  journal entries that it has not acknowledged; None where door-syncd
              does not say
    """

    is_linked: bool
    terminal_id: str = ""
    site: str = ""
    broker: str = ""
    is_up: bool | None = None
    silent_s: float | None = None
    waiting: int | None = None
    said: str = ""


def tie(where: Places) -> Tie:
    """The link as it is now."""
    if not is_linked():
        return Tie(False)
    try:
        link = read_link(link_path())
    except ConfigError as error:
        return Tie(True, said=str(error))
    synced = _json(status_path(where).with_name("sync.json"))
    return Tie(True, link.terminal_id, link.site, f"{link.broker_host}:{link.broker_port}",
               is_up=_as(bool, synced.get("is_up")), silent_s=_as(float, synced.get("silent_s")),
               waiting=_as(int, synced.get("waiting")))


def serial(root: Path = Path("/")) -> str:
    """The board's serial number; where it has none, eight digits that stand for this installation."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = (root / "sys/firmware/devicetree/base/serial-number").read_text("ascii").strip("\0 \n")
        if found and found.isalnum():
            return found.upper()[:32]
    with contextlib.suppress(OSError):
        # machine-id itself is to be kept secret (machine-id(5)): what is shown is derived from it.
        machine = (root / "etc/machine-id").read_bytes().strip()
        return hmac.digest(machine, b"open-door serial", hashlib.sha256).hex()[:8].upper()
    return "UNKNOWN"


def claim_code(where: Places) -> str:
    """This terminal's one-time code, made at the first call, e.g. `8K2M4-Q1TZ9-0RW3X-7HCVN`."""
    path = code_path(where)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = path.read_text("ascii").strip()
        if len(kept) == _LENGTH and set(kept) <= set(_LETTERS):
            return grouped(kept)
    code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            os.write(fd, code.encode())
        finally:
            os.close(fd)
        fresh.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: the claim code cannot be kept: {error.strerror}") from None
    return grouped(code)


def code_path(where: Places) -> Path:
    """Where the code lies for door-syncd, which reads it by its share in the folder's group."""
    return where.journal_db.parent / "claim-code"


def grouped(code: str) -> str:
    return "-".join(code[start:start + _GROUP] for start in range(0, _LENGTH, _GROUP))


def label(serial_number: str, code: str) -> str:
    """What the QR code says, in letters that need the fewest modules."""
    return f"DOOR1:{serial_number}:{code}"


def qr_svg(text: str) -> bytes:
    """The text as QR code, dark on white, as SVG that scales to any size."""
    modules = cv2.QRCodeEncoder.create().encode(text)
    side = len(modules)
    # The encoder paints one pixel a module and a border of its own, which is white like ours.
    dark = "".join(f"M{x + _QUIET} {y + _QUIET}h1v1h-1z" for y in range(side) for x in range(side)
                   if modules[y][x] < 128)
    whole = side + 2 * _QUIET
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" shape-rendering="crispEdges">'
            f'<path fill="#fff" d="M0 0h{whole}v{whole}H0z"/><path d="{dark}"/></svg>').encode()


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        found = json.loads(file.read(_MOST_BYTES))
        return found if isinstance(found, dict) else {}
    return {}


def _as(kind: type[Any], value: Any) -> Any:
    """The value where it is of that kind, a whole number counting as a real one; else None."""
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else None

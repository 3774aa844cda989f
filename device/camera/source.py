"""Source: what `camera.source` says, read once and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from device.camera.rtsp_address import RtspAddress, parse_address
from device.config import CameraConfig
from device.errors import ConfigError

_NUMBERED = re.compile(r"(usb|jetson|picamera):([0-9]{1,2})\Z")
_DEVICE = re.compile(r"/dev/video([0-9]{1,2})\Z")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_NOWHERE = RtspAddress("")
_SHOWN = 200  # letters of a name that is not there


class Kind(Enum):
    """Where frames come from."""

    REHEARSAL = "rehearsal"
    PICAMERA = "picamera"
    USB = "usb"
    JETSON = "jetson"
    RTSP = "rtsp"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Source:
    """One parsed source; only the field of its kind means something."""

    kind: Kind
    number: int = 0
    path: Path = Path()
    address: RtspAddress = _NOWHERE


def check_sources(config: CameraConfig) -> None:
    """ConfigError, naming the key, where a camera cannot be understood or its file is not there; opens nothing."""
    if config.source != "auto":
        parse_source(config.source)
    if config.infrared is None:
        return
    try:
        if parse_source(config.infrared).kind is Kind.REHEARSAL:
            raise ConfigError("camera.source \"rehearsal\" is a rendering; name a near-infrared camera")
    except ConfigError as error:
        raise ConfigError(str(error).replace("camera.source", "camera.infrared")) from None


def shown_source(text: str) -> str:
    """A source fit for people and logs: of a network camera neither name nor password."""
    if not _SCHEME.match(text) or _NUMBERED.match(text):
        return text
    try:
        source = parse_source(text)
    except ConfigError:
        return f"{text.partition(':')[0]}:..."
    return source.address.shown if source.kind is Kind.RTSP else text


def parse_source(text: str) -> Source:
    """Source of a `camera.source`; ConfigError says what may stand there. `auto` must be resolved before."""
    if text == "rehearsal":
        return Source(Kind.REHEARSAL)
    if text == "picamera":
        return Source(Kind.PICAMERA)
    if match := _NUMBERED.match(text):
        return Source(Kind(match[1]), number=int(match[2]))
    if match := _DEVICE.match(text):
        return Source(Kind.USB, number=int(match[1]))
    if text.lower().startswith("rtsp://"):
        return Source(Kind.RTSP, address=parse_address(text))
    scheme, path = _SCHEME.match(text), _existing(text)
    if path is not None:
        return Source(Kind.FILE, path=path)
    if not text.isprintable() or not text or scheme or "@" in text:
        # Never quoted whole: what follows an unknown scheme, or stands before an @, may hold a password.
        shown = f" {scheme[1]}:" if scheme else ""
        raise ConfigError(f"camera.source{shown} is not known; write auto, rehearsal, picamera, usb:0, jetson:0, "
                          "rtsp://ADDRESS, a video file or a folder of stills")
    raise ConfigError(f"camera.source: {text[:_SHOWN]}: no such file or folder")


def _existing(text: str) -> Path | None:
    """The file or folder of that name, if there is one and it can be looked for."""
    try:
        path = Path(text).expanduser()
        return path if text and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, the home of nobody
        return None

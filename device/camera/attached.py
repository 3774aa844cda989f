"""Finding a camera that is plugged in, from what the kernel lists, without opening anything."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from pathlib import Path

log = logging.getLogger(__name__)

# Drivers of the sensors that Raspberry Pi modules carry name their sub-device "imx219 10-0010", "ov5647 4-0036", ...
_SENSOR = re.compile(r"(imx|ov)\d{3,5}\w* ")


def find_attached(root: Path = Path("/")) -> str | None:
    """`picamera` or `usb:N` of a camera that is attached and may be opened, else None. `root` is for tests."""
    listed = root / "sys/class/video4linux"
    names = sorted(listed.iterdir(), key=_number) if listed.is_dir() else []
    if any(_SENSOR.match(_text(entry / "name")) for entry in names if entry.name.startswith("v4l-subdev")):
        if importlib.util.find_spec("picamera2") is not None:
            return "picamera"
        log.warning("a camera module is attached, but picamera2 is missing: sudo apt install python3-picamera2")
    for entry in names:
        if entry.name.startswith("video") and _is_usb_camera(entry):
            device = root / "dev" / entry.name
            if os.access(device, os.R_OK | os.W_OK):
                return f"usb:{_number(entry)}"
            log.warning("%s may not be opened: add this account to the group video", device)
    return None


def _is_usb_camera(entry: Path) -> bool:
    # A USB camera has a second node, index 1, for metadata; the Pi's codecs and scalers are nodes outside USB.
    return "usb" in str((entry / "device").resolve()) and _text(entry / "index").strip() == "0"


def _number(entry: Path) -> int:
    digits = re.sub(r"\D", "", entry.name.removeprefix("v4l"))
    return int(digits) if digits else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

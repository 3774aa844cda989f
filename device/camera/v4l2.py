"""USB cameras and whatever else V4L2 lists as /dev/videoN, through OpenCV.

Motion JPEG is asked for, since raw 1280×720 at 30 frames/s does not fit USB 2; what the camera gives instead
(grey, YUYV, 16-bit, another size, 5 frames/s) is taken and converted.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy.typing as npt

from device.camera.camera import Camera
from device.camera.capture import open_capture
from device.camera.fit import Fit
from device.camera.pump import Pump
from device.clock import Clock
from device.config import CameraConfig
from device.errors import CameraLost

log = logging.getLogger(__name__)

_BUFFERS = 2  # one is filled while the other is decoded; more would only hold older pictures
_FAILURES = 5  # a torn USB packet spoils one picture; an unplugged camera fails every time
_OLDEST_S = 1.0  # a kernel time stamp further back than this is of another clock


def open_usb(number: int, config: CameraConfig, clock: Clock) -> Camera:
    """Camera /dev/video`number`; whether it can be opened shows at the first read."""
    name = f"usb:{number}"
    return Pump(name, lambda: _opened(number, config, clock), Fit(name, config.rotate), clock)


class UsbCapture:
    """/dev/videoN while it is open.

    capture  what reads it, as OpenCV's VideoCapture does
    """

    def __init__(self, name: str, capture: Any, clock: Clock) -> None:
        self._name, self._capture, self._clock = name, capture, clock
        self._torn = 0

    def grab(self) -> float:
        import cv2

        if not any(self._capture.grab() for _ in range(_FAILURES)):
            raise self._lost()
        now, kernel = self._clock.mono(), self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return kernel if now - _OLDEST_S < kernel <= now else now

    def retrieve(self) -> npt.NDArray[Any] | None:
        is_taken, picture = self._capture.retrieve()
        if not is_taken or picture is None or not picture.size:
            self._torn += 1
            if self._torn >= _FAILURES:
                raise self._lost()
            return None
        self._torn = 0
        found: npt.NDArray[Any] = picture
        return found

    def release(self) -> None:
        self._capture.release()

    def _lost(self) -> CameraLost:
        return CameraLost(f"{self._name}: yields no pictures any more; is it still plugged in?")


def _opened(number: int, config: CameraConfig, clock: Clock) -> UsbCapture:
    name = f"usb:{number}"
    _check_device(number)
    capture = open_capture(number, "CAP_V4L2")
    if not capture.isOpened():
        raise CameraLost(f"{name}: another program uses it, or it gives no format that can be read; "
                         f"see fuser /dev/video{number} and v4l2-ctl -d {number} --list-formats")
    _ask(capture, name, config)
    return UsbCapture(name, capture, clock)


def _check_device(number: int) -> None:
    device = Path(f"/dev/video{number}")
    if not device.is_char_device():
        raise CameraLost(f"usb:{number}: {device} is not there; plug the camera in or name another in camera.source")
    if not os.access(device, os.R_OK | os.W_OK):
        raise CameraLost(f"usb:{number}: {device} may not be opened; add this account to the group video")


def _ask(capture: Any, name: str, config: CameraConfig) -> None:
    import cv2

    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
    capture.set(cv2.CAP_PROP_FPS, config.fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
    given = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if given != (config.width, config.height):
        log.info("%s gives %d×%d pixels instead of %d×%d", name, *given, config.width, config.height)

"""Camera: something that yields frames, whatever it is made of; `open_camera` chooses by the configuration.

Called by `camera.keeper` (the door) and by commands that play a clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from device.clock import Clock
from device.config import CameraConfig
from device.errors import CameraLost, ConfigError
from device.frame import Frame

TOGETHER = 1.1
"""Frames by which two cameras' pictures may lie apart. They run freely, and the next one is not waited for: so the
newest of the second may be almost a whole frame older, in which a walking person moves four centimetres."""


class CameraSilent(CameraLost):
    """No frame came in the time given; the camera is still open and may yet yield one."""


class CameraRefused(CameraLost):
    """The camera turned our credentials down. Trying again soon can lock the account, so the keeper waits long."""


REST_EVERY_S = 0.19
"""A resting camera yields a picture so often: five a second, as many as the watch over its health looks at."""


class ClipEnded(CameraLost):
    """A video file or a folder of stills has been shown to its end."""


class ClipBroken(ClipEnded):
    """It breaks off before its end; the message says where."""


class Camera(Protocol):
    """All frames of one camera have one size. One thread reads; any thread may ask for the description.

    A source without a sensor's noise (a clip, a rendering) also has `has_noise = False`: two pictures of it may
    well be equal, so they are not taken for a frozen camera. A camera that can spare work while nobody is there also
    has `rest(is_resting)`: from then on it yields a picture every REST_EVERY_S only; the `seq` of its frames counts
    those that it left out.
    """

    @property
    def description(self) -> str:
        """What people call it, fit for logs: without a password."""
        ...

    def read(self, timeout_s: float) -> Frame:
        """The next frame. CameraSilent when none came within `timeout_s`, another CameraLost when none will come."""
        ...

    def close(self) -> None:
        """Give the device back; a second call does nothing."""
        ...


def open_camera(config: CameraConfig, clock: Clock, paced: bool = True,
                infrared_lost: Callable[[bool, str], None] | None = None) -> Camera:
    """The camera that `config.source` names, with the one that `config.infrared` names beside it.

    `auto` takes an attached camera; CameraLost where there is none (`attached.find_attached` tells beforehand).
    `paced=False` yields a clip as fast as it can be read, its frames stamped with the clip's own time.
    ConfigError where the source cannot be understood; the rehearsal is not a camera and is refused here.

    infrared_lost  told, in another thread, when the second camera is lost, and why, and when it is back
    """
    first = _open(config, clock, paced)
    if config.infrared is None:
        return first
    from device.camera.paired import PairedCamera

    second = replace(config, source=config.infrared)
    return PairedCamera(first, lambda: _open(second, clock, paced), TOGETHER / config.fps, clock,
                        infrared_lost or _say_nothing)


def _say_nothing(is_lost: bool, reason: str) -> None:
    """For those who do not ask how the second camera fares."""


def _open(config: CameraConfig, clock: Clock, paced: bool) -> Camera:
    from device.camera.source import Kind, parse_source

    source = parse_source(_attached() if config.source == "auto" else config.source)
    if source.kind is Kind.FILE:
        from device.camera.files import open_file

        return open_file(source.path, config, clock, paced)
    if source.kind is Kind.USB:
        from device.camera.v4l2 import open_usb

        return open_usb(source.number, config, clock)
    if source.kind is Kind.RTSP:
        from device.camera.rtsp import open_rtsp

        return open_rtsp(source.address, config, clock)
    if source.kind is Kind.JETSON:
        from device.camera.jetson import open_jetson

        return open_jetson(source.number, config, clock)
    if source.kind is Kind.PICAMERA:
        from device.camera.picamera import open_picamera

        return open_picamera(source.number, config, clock)
    raise ConfigError("camera.source = \"rehearsal\" is a rendering, not a camera; doorctl run starts it")


def _attached() -> str:
    from device.camera.attached import find_attached

    found = find_attached()
    if found is None:
        raise CameraLost("no camera is attached; plug one in, or name one in camera.source")
    return found

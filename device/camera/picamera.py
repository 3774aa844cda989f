"""Raspberry Pi camera modules through picamera2, which comes from the OS together with libcamera.

Wiring: the ribbon into the CSI socket, contacts away from the latch; `rpicam-hello --list-cameras` must show it.
"""

from __future__ import annotations

from concurrent import futures
from typing import Any

from device.camera.camera import REST_EVERY_S, Camera, CameraSilent
from device.camera.fit import Fit
from device.clock import Clock
from device.config import CameraConfig
from device.errors import CameraLost
from device.frame import Frame

_BUFFERS = 4
_OLDEST_S = 1.0  # a sensor time stamp further back than this is of another clock


def open_picamera(number: int, config: CameraConfig, clock: Clock) -> Camera:
    """Module `number` of the board."""
    try:
        from picamera2 import Picamera2
    except ImportError:
        raise CameraLost("picamera: picamera2 is missing: sudo apt install python3-picamera2, and make the virtual "
                         "environment with --system-site-packages") from None
    name = f"picamera:{number}" if number else "picamera"
    if number >= len(Picamera2.global_camera_info()):
        raise CameraLost(f"{name}: no such camera module; rpicam-hello --list-cameras shows what is attached")
    try:
        device = Picamera2(number)
    except (RuntimeError, IndexError, OSError):
        raise CameraLost(f"{name}: cannot be opened; is another program using it?") from None
    return PiCamera(name, device, config, clock)


class PiCamera:
    """A camera module while it runs. `RGB888` is libcamera's name for bytes in the order blue, green, red."""

    def __init__(self, description: str, device: Any, config: CameraConfig, clock: Clock) -> None:
        self.description = description
        self._device = device
        self._clock = clock
        self._fit = Fit(description, config.rotate)
        self._seq = -1
        self._is_resting, self._shown_mono = False, float("-inf")
        self._job: Any = None
        self._is_open = True
        try:
            device.configure(device.create_video_configuration(
                main={"size": (config.width, config.height), "format": "RGB888"},
                controls={"FrameRate": config.fps}, buffer_count=_BUFFERS, queue=False))
            device.start()
        except (RuntimeError, OSError, ValueError):
            self.close()
            size = f"{config.width}×{config.height}"
            raise CameraLost(f"{description}: does not start at {size}; try 1280×720") from None

    def read(self, timeout_s: float) -> Frame:
        if not self._is_open:
            raise CameraLost(f"{self.description}: closed")
        until = self._clock.mono() + timeout_s
        while True:
            request = self._request(max(until - self._clock.mono(), 0.0), timeout_s)
            now = self._clock.mono()
            taken = request.get_metadata().get("SensorTimestamp", 0) / 1e9
            mono = taken if now - _OLDEST_S < taken <= now else now
            self._seq += 1
            if not self._is_resting or mono - self._shown_mono >= REST_EVERY_S:
                self._shown_mono = mono
                return self._frame(request, mono)
            request.release()

    def rest(self, is_resting: bool) -> None:
        """While it rests most pictures go back to libcamera without being copied."""
        self._is_resting = is_resting

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._job = None
        self._device.stop()
        self._device.close()

    def _request(self, left_s: float, timeout_s: float) -> Any:
        # A job that was late stays: asking again would pile up requests inside picamera2.
        self._job = self._job or self._device.capture_request(wait=False)
        try:
            request = self._device.wait(self._job, timeout=left_s)
        except futures.TimeoutError:
            raise CameraSilent(f"{self.description}: no frame within {timeout_s:.1f} s") from None
        except (RuntimeError, OSError):
            self._job = None
            raise CameraLost(f"{self.description}: the camera stopped; check its ribbon") from None
        self._job = None
        return request

    def _frame(self, request: Any, mono: float) -> Frame:
        try:
            return Frame(self._seq, mono, self._fit(request.make_array("main")))
        finally:
            request.release()

"""Network cameras over RTSP, through the FFmpeg in OpenCV's wheel, over TCP.

Lost packets cost pictures, not the connection; a connection that ends, falls silent or is refused is CameraLost.
"""

from __future__ import annotations

from typing import Any

from device.camera.camera import Camera
from device.camera.capture import open_capture
from device.camera.fit import Fit, check_size
from device.camera.pump import Pump
from device.camera.rtsp_address import RtspAddress
from device.camera.rtsp_describe import check_reachable, check_stream
from device.clock import Clock
from device.config import CameraConfig
from device.errors import CameraLost

_ANSWER_S = 2.0
_OPEN_MS = 6000
_READ_MS = 2500


def open_rtsp(address: RtspAddress, config: CameraConfig, clock: Clock) -> Camera:
    """The stream at `address`; whether it can be had shows at the first read."""
    return Pump(address.shown, lambda: RtspCapture(address, clock), Fit(address.shown, config.rotate), clock)


class RtspCapture:
    """One RTSP session. Pictures are stamped when they are received: senders' clocks are not to be trusted."""

    def __init__(self, address: RtspAddress, clock: Clock) -> None:
        import cv2

        self._name = address.shown
        self._clock = clock
        check_reachable(address, _ANSWER_S)
        # One decoding thread: with several FFmpeg holds back as many pictures as it has threads.
        self._capture = open_capture(address.secret_url, "CAP_FFMPEG", [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS,
            cv2.CAP_PROP_N_THREADS, 1])
        if not self._capture.isOpened():
            # Asked only now: a session that is described and dropped makes some servers refuse the next one.
            check_stream(address, _ANSWER_S)
            raise CameraLost(f"{self._name}: the stream cannot be decoded or sends nothing; set the camera to H.264")
        width, height = (self._capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if not width:
            self._capture.release()
            raise CameraLost(f"{self._name}: no picture arrives whole; packets are lost, check the network")
        check_size(self._name, width, height)

    def grab(self) -> float:
        if not self._capture.grab():
            raise CameraLost(f"{self._name}: the stream ended or fell silent")
        return self._clock.mono()

    def retrieve(self) -> Any:
        return self._capture.retrieve()[1]

    def release(self) -> None:
        self._capture.release()

"""CSI cameras of a Jetson, through GStreamer's nvarguscamerasrc.

OpenCV's wheels come without GStreamer, so the pipeline runs as a process of its own (gst-launch-1.0, from the
package gstreamer1.0-tools) that writes raw pictures into a pipe. It ends when the pipe's reader does.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from collections.abc import Callable

import numpy as np

from device.camera.camera import REST_EVERY_S, Camera, CameraSilent
from device.camera.fit import Fit
from device.clock import Clock
from device.config import CameraConfig
from device.errors import CameraLost
from device.frame import Frame, Pixels

_PROGRAM = "gst-launch-1.0"
_CHANNELS = 4  # BGRx: what the converter yields in hardware
_PIPE_BYTES = 1 << 20


def open_jetson(number: int, config: CameraConfig, clock: Clock) -> Camera:
    """CSI camera `number` of the board."""
    if shutil.which(_PROGRAM) is None:
        raise CameraLost(f"jetson:{number}: {_PROGRAM} is missing: sudo apt install gstreamer1.0-tools")
    source = [
        "nvarguscamerasrc", f"sensor-id={number}", "!",
        f"video/x-raw(memory:NVMM),width={config.width},height={config.height},framerate={round(config.fps)}/1",
        "!", "nvvidconv",
    ]
    return RawPipe(f"jetson:{number}", lambda fd: pipeline(source, config, fd), config, clock)


def pipeline(source: list[str], config: CameraConfig, fd: int) -> list[str]:
    """Arguments of the process that writes `source`'s pictures as BGRx into `fd`; the leaky queue drops the late."""
    return [
        _PROGRAM, "-q", *source, "!", f"video/x-raw,format=BGRx,width={config.width},height={config.height}", "!",
        "queue", "max-size-buffers=1", "leaky=downstream", "!", "fdsink", f"fd={fd}", "sync=false",
    ]


class RawPipe:
    """The Camera over a process that writes raw pictures. A pipe of its own: Argus prints its chat to stdout."""

    def __init__(self, description: str, command: Callable[[int], list[str]], config: CameraConfig,
                 clock: Clock) -> None:
        self.description = description
        self._size = (config.height, config.width, _CHANNELS)
        self._clock = clock
        self._fit = Fit(description, config.rotate)
        self._seq = -1
        self._is_resting, self._shown_mono = False, float("-inf")
        self._said = b""
        self._pipe, self._process = _start(description, command)
        self._chat = self._process.stderr.fileno() if self._process.stderr is not None else -1
        for descriptor in (self._pipe, self._chat):
            os.set_blocking(descriptor, False)
        self._empty()

    def read(self, timeout_s: float) -> Frame:
        until = self._clock.mono() + timeout_s
        while True:
            self._read_picture(until, timeout_s)
            self._seq += 1
            now = self._clock.mono()
            if not self._is_resting or now - self._shown_mono >= REST_EVERY_S:
                break
            self._have = 0
        self._shown_mono = now
        frame = Frame(self._seq, now, self._fit(self._picture))
        self._empty()
        return frame

    def rest(self, is_resting: bool) -> None:
        """While it rests most pictures are taken from the pipe and not converted."""
        self._is_resting = is_resting

    def close(self) -> None:
        if self._pipe < 0:
            return
        os.close(self._pipe)
        self._pipe = -1
        self._process.terminate()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(1.0)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read_picture(self, until: float, timeout_s: float) -> None:
        while self._have < len(self._buffer):
            if self._process.poll() is not None and not self._is_readable(0):
                raise CameraLost(f"{self.description}: the camera's pipeline ended: {self._last_words()}")
            left = until - self._clock.mono()
            if left <= 0:
                raise CameraSilent(f"{self.description}: no frame within {timeout_s:.1f} s")
            if self._is_readable(left):
                self._fill()

    def _empty(self) -> None:
        # A new array each time: the frame before it still lives in whoever holds it.
        self._picture: Pixels = np.empty(self._size, np.uint8)
        self._buffer = memoryview(self._picture.data).cast("B")
        self._have = 0

    def _is_readable(self, timeout_s: float) -> bool:
        waiting = [self._pipe] if self._chat < 0 else [self._pipe, self._chat]
        readable = select.select(waiting, [], [], timeout_s)[0]
        if self._chat in readable:
            self._listen()
        return self._pipe in readable

    def _fill(self) -> None:
        count = os.readv(self._pipe, [self._buffer[self._have :]])
        if count == 0:
            self._ended()
        self._have += count

    def _ended(self) -> None:
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(1.0)
        raise CameraLost(f"{self.description}: the camera's pipeline ended: {self._last_words()}")

    def _listen(self) -> None:
        more = os.read(self._chat, 4096)
        self._said = (self._said + more)[-2048:]
        if not more:
            self._chat = -1

    def _last_words(self) -> str:
        while self._chat >= 0 and select.select([self._chat], [], [], 0)[0]:
            self._listen()
        lines = [line for line in self._said.decode("utf-8", "replace").splitlines() if line.strip()]
        return "".join(sign for sign in lines[-1][:200] if sign.isprintable()) if lines else "without a word"


def _start(description: str, command: Callable[[int], list[str]]) -> tuple[int, subprocess.Popen[bytes]]:
    """(reading end of the pipe, process)"""
    reading, writing = os.pipe()
    _widen(reading)
    try:
        process = subprocess.Popen(command(writing), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, pass_fds=(writing,))
    except OSError as error:
        os.close(reading)
        raise CameraLost(f"{description}: the pipeline cannot be started: {error.strerror}") from None
    finally:
        os.close(writing)
    return reading, process


def _widen(pipe: int) -> None:
    import fcntl

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # a limit of the system; the pipe then works in smaller pieces

"""Opening OpenCV's VideoCapture without noise: our own lines say what went wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

SELECT_TIMEOUT_S = 2  # OpenCV waits 10 s for a V4L2 frame unless told otherwise


def open_capture(what: str | int, backend: str, parameters: Sequence[int] = ()) -> Any:
    """A cv2.VideoCapture, perhaps not opened (`isOpened()`). backend: "CAP_FFMPEG", "CAP_V4L2".

    OpenCV reads the settings below from the environment, once; what the installer has set there stays.
    """
    _settle()
    import cv2

    return cv2.VideoCapture(what, getattr(cv2, backend), list(parameters))


@cache
def _settle() -> None:
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(SELECT_TIMEOUT_S))
    # TCP: over UDP one lost packet tears the picture, and most sites' firewalls block it.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|analyzeduration;1000000")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    # FFmpeg's own warnings can quote an address with its password.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

"""A door that sees and is shown what nobody else may know, and then fails: `canary_child.py PICTURE FOLDER`.

Everything is logged, at the finest level; its metrics are kept in the folder. Once the door has opened for the face
and has answered numbers with PINs, cards and a pass, right and wrong, its vision fails amid the templates, and the
process ends as it does then.
"""

from __future__ import annotations

import logging
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from door_child import Picture, Says

from device.clock import SystemClock
from device.config import parse_config
from device.door.types import CredentialShown
from device.face.pipeline import Pipeline
from device.observe.logs import set_up
from device.store.places import places
from device.store.records import Method
from device.terminal import Terminal

CARD, NUMBER, PIN = b"26:C0FFEE51", "7654321098", "27182845"
WRONG_PIN, PASS, PASSWORD = "31415926", "FD1:CANARYPASS-ABCDEFGHIJKLMNOPQRSTUVWXYZ", "CANARY-PASSWORD"
SHOWN = ((Method.PIN, f"{NUMBER}*{PIN}".encode()), (Method.PIN, f"{NUMBER}*{WRONG_PIN}".encode()),
         (Method.CARD, CARD), (Method.CARD, CARD[::-1]), (Method.QR, PASS.encode()), (Method.PIN, b"\xff" + CARD))


def main() -> None:
    set_up(logging.DEBUG)
    pixels, folder = np.asarray(cv2.imread(sys.argv[1]), np.uint8), Path(sys.argv[2])
    config = parse_config({"door": {"lock": "strike", "release_s": 1.0}, "face": {"liveness": "none"},
                           "metrics": {"port": 0}, "kiosk": {"enabled": True, "port": 0},
                           "camera": {"source": f"rtsp://admin:{PASSWORD}@127.0.0.1/x"}})
    clock, says = SystemClock(), Heard()
    with Terminal(config, places(), clock, camera=lambda: Picture(pixels), observers=[says]) as terminal:
        terminal.start()
        for method, secret in SHOWN:
            terminal.credentials.offer(CredentialShown(clock.mono(), method, secret))
        deadline = time.monotonic() + 60
        terminal.run(lambda: says.count > len(SHOWN) or time.monotonic() > deadline)
        assert terminal.metrics is not None
        port = terminal.metrics._server[0].server_port  # type: ignore[index]
        (folder / "metrics").write_bytes(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read())
        Pipeline.look = fail  # type: ignore[method-assign]
        terminal.run()


class Heard(Says):
    """Counts answers."""

    count = 0

    def decided(self, *given: Any) -> None:
        self.count += 1
        super().decided(*given)


def fail(pipeline: Pipeline, *given: Any, **more: Any) -> None:
    frame, gallery, *_ = given
    assert gallery.rows.shape[1] > 3, frame
    gallery.rows @ np.zeros(3)


if __name__ == "__main__":
    main()

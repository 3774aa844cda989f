"""A text as a QR code that a phone shows or a printer prints. Called by the API and `fleethub pass`."""

from __future__ import annotations

import cv2

MODULE_PX = 8
QUIET = 2  # modules of white that are added to the encoder's own two: the standard asks for four (ISO/IEC 18004)


def qr_png(text: str) -> bytes:
    """The code as PNG, dark on white, 8 px a module."""
    parameters = cv2.QRCodeEncoder.Params()
    parameters.correction_level = cv2.QRCodeEncoder_CORRECT_LEVEL_M
    modules = cv2.QRCodeEncoder.create(parameters).encode(text)
    framed = cv2.copyMakeBorder(modules, QUIET, QUIET, QUIET, QUIET, cv2.BORDER_CONSTANT, value=(255,))
    large = cv2.resize(framed, None, fx=MODULE_PX, fy=MODULE_PX, interpolation=cv2.INTER_NEAREST)
    return cv2.imencode(".png", large)[1].tobytes()

"""Picture files from outside, hostile until parsed: bytes in, upright BGR pixels out.

Called by enrolment, `identify`, `compare`, evaluation and the hub. What is refused: anything but JPEG, PNG, WebP and
BMP, more than 20 MB, a side over 12,000 or more than 50 million pixels (looked up in the header, before anything is
decoded), damaged or cut off data. Metadata is read for the orientation alone and goes no further.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from device.errors import PictureRefused
from device.frame import Pixels

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
MOST_BYTES = 20_000_000
MOST_SIDE = 12_000
MOST_PIXELS = 50_000_000
LONGEST_SIDE = 1920
"""Larger pictures are shrunk to that: a face that fills a tenth of it still has 60 px between the eyes."""

# What Pillow says where the texts in a PNG, unpacked, are beyond its limits of 1 MB each and 64 MB together.
_LONG_TEXTS = ("MAX_TEXT_CHUNK", "text chunks")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
           zlib.error, MemoryError, ArithmeticError, AttributeError)


def read_photo(path: Path) -> Pixels:
    """The picture in that file as `decode_photo` gives it; PictureRefused where it cannot be read."""
    try:
        if not path.is_file():
            raise PictureRefused(f"{path}: no such picture")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PictureRefused(f"{path.name}: {(error.strerror or 'cannot be read').lower()}") from None
    return decode_photo(data, path.name)


def shrunk_by(path: Path, pixels: Pixels) -> float:
    """How many pixels of the file one pixel of `read_photo(path)` stands for, 1 where it was not shrunk."""
    if max(pixels.shape[:2]) < LONGEST_SIDE:
        return 1.0
    with Image.open(path) as image:
        return float(max(image.size) / max(pixels.shape[:2]))


def decode_photo(data: bytes, name: str) -> Pixels:
    """H×W×3 uint8 BGR, upright, at most 1920 on its longer side, contiguous and read-only.

    Grey, CMYK, palette, 16-bit and transparent pictures are converted (transparency over white); of an animated
    one the first picture is taken. PictureRefused, one line with the reason, for everything else.
    """
    if not data:
        raise PictureRefused(f"{name}: empty file")
    if len(data) > MOST_BYTES:
        raise PictureRefused(f"{name}: larger than {MOST_BYTES // 1_000_000} MB; save a smaller copy")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures; the limits above decide instead.
        warnings.simplefilter("ignore")
        try:
            rgb = _decode(data, name)
        except UnidentifiedImageError:
            raise PictureRefused(f"{name}: not a JPEG, PNG, WebP or BMP picture") from None
        except Image.DecompressionBombError:
            raise PictureRefused(f"{name}: far too many pixels; save a smaller copy") from None
        except PictureRefused:
            raise
        except _DAMAGE as error:
            if any(word in str(error) for word in _LONG_TEXTS):
                raise PictureRefused(f"{name}: too much text beside the picture; save it without metadata") from None
            raise PictureRefused(f"{name}: damaged or cut off; save it anew") from None
    pixels: Pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    pixels.setflags(write=False)
    return pixels


def _decode(data: bytes, name: str) -> Pixels:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
            raise PictureRefused(f"{name}: {width}x{height} pixels are too many; save a smaller copy")
        if image.format == "JPEG":
            # Lets the decoder skip detail that shrinking would throw away.
            image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))
        image.load()
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        plain = _opaque(_shrunk(_sampled(image)))
        return np.ascontiguousarray(plain if turn is None else plain.transpose(turn))


def _sampled(image: Image.Image) -> Image.Image:
    """The same picture in a mode whose pixels can be averaged."""
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion clips at 255 instead of keeping the upper eight bits.
        return Image.fromarray(np.clip(np.asarray(image, np.float32) / 257.0, 0, 255).astype(np.uint8))
    if image.mode in ("P", "PA", "1"):
        return image.convert("RGBA")
    if "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _shrunk(image: Image.Image) -> Image.Image:
    scale = LONGEST_SIDE / max(image.size)
    if scale >= 1.0:
        return image
    width, height = (max(round(side * scale), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _opaque(image: Image.Image) -> Image.Image:
    """RGB, over white where it was transparent."""
    if image.mode not in ("RGBA", "LA"):
        return image.convert("RGB")
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over).convert("RGB")

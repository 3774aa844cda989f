"""The size that a coded picture states of itself, read from its bytes without decoding it.

FFmpeg scales whatever a clip holds to the clip's first size without telling; so `camera.files` looks here whether the
size has changed. Known are JPEG, MPEG-1 and MPEG-2, H.264 (ITU-T H.264, 7.3.2.1.1) and VP8 (RFC 6386, 9.1).
"""

from __future__ import annotations

import re

Size = tuple[int, int]

_JPEG_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_SEQUENCE = b"\x00\x00\x01\xb3"  # MPEG-1 and MPEG-2
_PARAMETERS = re.compile(rb"\x00\x00\x01[\x27\x47\x67]")  # H.264, nal_unit_type 7
_VP8_KEY = b"\x9d\x01\x2a"
_WITH_CHROMA = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))
_MOST_HEAD = 4096


def coded_size(codec: str, data: bytes) -> Size | None:
    """(width, height) of the picture in `data`; None where it states none, as most pictures of a film, or is torn.

    codec  its four letters, as OpenCV gives them
    """
    read = {"MJPG": _jpeg, "mpg1": _mpeg, "mpg2": _mpeg, "h264": _h264, "avc1": _h264, "H264": _h264,
            "VP80": _vp8}.get(codec)
    try:
        size = read(data[:_MOST_HEAD]) if read else None
    except IndexError:
        return None
    return size if size and min(size) > 0 else None


def _jpeg(data: bytes) -> Size | None:
    place = 2
    while data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _JPEG_FRAMES:
            return data[place + 7] << 8 | data[place + 8], data[place + 5] << 8 | data[place + 6]
        place += 2 + length
    return None


def _mpeg(data: bytes) -> Size | None:
    place = data.find(_SEQUENCE) + 4
    if place < 4:
        return None
    return data[place] << 4 | data[place + 1] >> 4, (data[place + 1] & 15) << 8 | data[place + 2]


def _vp8(data: bytes) -> Size | None:
    if data[0] & 1 or data[3:6] != _VP8_KEY:  # only a key frame says it
        return None
    return (data[6] | data[7] << 8) & 0x3FFF, (data[8] | data[9] << 8) & 0x3FFF


def _h264(data: bytes) -> Size | None:
    found = _PARAMETERS.search(data)
    if found is None:
        return None
    bits = _Bits(data[found.end() :].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.take(8)
    bits.take(16)
    bits.number()
    chroma = bits.chroma() if profile in _WITH_CHROMA else 1
    bits.number()
    bits.order()
    bits.number()
    bits.take(1)
    columns, rows = bits.number() + 1, bits.number() + 1
    is_frame = bits.take(1)
    if not is_frame:
        bits.take(1)
    bits.take(1)
    left, right, top, bottom = (bits.number() for _ in range(4)) if bits.take(1) else (0, 0, 0, 0)
    across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1) * (2 - is_frame)
    return 16 * columns - across * (left + right), 16 * rows * (2 - is_frame) - down * (top + bottom)


class _Bits:
    """H.264's parameters, bit by bit; IndexError at their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._place >> 3] >> (7 - self._place % 8) & 1
            self._place += 1
        return value

    def number(self) -> int:
        """Exp-Golomb, unsigned."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise IndexError("no number")
        return (1 << zeros) - 1 + self.take(zeros)

    def chroma(self) -> int:
        """chroma_format_idc, and past what follows it in the higher profiles."""
        idc = self.number()
        if idc == 3:
            self.take(1)
        self.number()
        self.number()
        self.take(1)
        if self.take(1):
            for each in range(8 if idc != 3 else 12):
                if self.take(1):
                    self._scaling(16 if each < 6 else 64)
        return idc

    def order(self) -> None:
        """Past the order of output."""
        kind = self.number()
        if kind == 0:
            self.number()
        elif kind == 1:
            self.take(1)
            for _ in range(2):
                self.number()
            for _ in range(min(self.number(), 255)):
                self.number()

    def _scaling(self, size: int) -> None:
        last = following = 8
        for _ in range(size):
            if following:
                coded = self.number()
                following = (last + (coded + 1 >> 1) * (1 if coded & 1 else -1)) % 256
            last = following or last

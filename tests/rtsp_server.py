"""A small RTSP server for tests: Motion JPEG (RFC 2435) in RTP over the RTSP connection (RFC 2326, 10.12).

It can demand Basic or Digest credentials, lose packets, fall silent and break off.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import threading
from dataclasses import dataclass

import cv2
import numpy as np

WIDTH, HEIGHT, RATE = 320, 240, 25


@dataclass(frozen=True, slots=True)
class Manners:
    """How the server behaves; frames count per connection."""

    scheme: str = ""
    name: str = "door"
    password: str = "p@ss:w/ord"
    lose_every: int = 0
    silent_after: int = 10**9
    cut_after: int = 10**9


class RtspServer:
    """Serves one picture sequence at rtsp://127.0.0.1:`port`/live to everyone who asks."""

    def __init__(self, manners: Manners = Manners()) -> None:
        self.manners = manners
        self.logins_failed = 0
        self.plays = 0
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._frames = [_jpeg(number) for number in range(RATE)]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._links: list[threading.Thread] = []
        self._thread.start()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # A listener that is merely closed leaves accept() waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._thread, *self._links]:
            thread.join(5)

    def url(self, login: str = "") -> str:
        return f"rtsp://{login}127.0.0.1:{self.port}/live"

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            link.settimeout(5)
            thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
            self._links.append(thread)
            thread.start()

    def _serve(self, link: socket.socket) -> None:
        with link:
            try:
                while (head := _head(link)) and not self._stopping.is_set():
                    self._answer(link, head)
                    if head.startswith("PLAY"):
                        self.plays += 1
                        self._play(link)
                        return
            except OSError:
                return

    def _answer(self, link: socket.socket, head: str) -> None:
        method, url = head.split()[:2]
        number = re.search(r"CSeq: *(\d+)", head, re.IGNORECASE)
        assert number
        status, lines, body = "200 OK", [], ""
        if method == "OPTIONS":
            lines = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        elif not self._is_welcome(head, method):
            status, lines = "401 Unauthorized", [self._challenge()]
        elif "/live" not in url:
            status = "404 Not Found"
        elif method == "DESCRIBE":
            body = ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\n"
                    f"a=framerate:{RATE}\r\na=control:track1\r\n")
            lines = ["Content-Type: application/sdp", f"Content-Base: {url}/"]
        elif method == "SETUP":
            lines = ["Session: 1;timeout=60", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
        elif method == "PLAY":
            lines = ["Session: 1"]
        text = [f"RTSP/1.0 {status}", f"CSeq: {number[1]}", *lines, f"Content-Length: {len(body)}", "", body]
        link.sendall("\r\n".join(text).encode())

    def _challenge(self) -> str:
        return f'WWW-Authenticate: {self.manners.scheme} realm="camera", nonce="0123abcd"'

    def _is_welcome(self, head: str, method: str) -> bool:
        if not self.manners.scheme:
            return True
        given = re.search(r"^Authorization: *(\S+) +(.*?)\r?$", head, re.IGNORECASE | re.MULTILINE)
        is_right = bool(given) and self._is_right(given[1], given[2], method) if given else False
        self.logins_failed += bool(given) and not is_right
        return is_right

    def _is_right(self, scheme: str, text: str, method: str) -> bool:
        manners = self.manners
        if scheme != manners.scheme:
            return False
        if scheme == "Basic":
            return base64.b64decode(text).decode() == f"{manners.name}:{manners.password}"
        said = dict(re.findall(r'(\w+)="([^"]*)"', text))
        inner = [_md5(part) for part in (f"{manners.name}:camera:{manners.password}",
                                            f"{method}:{said['uri']}")]
        return said["response"] == _md5(f"{inner[0]}:{said['nonce']}:{inner[1]}")

    def _play(self, link: socket.socket) -> None:
        packet = 0
        for number in range(10**9):
            if number >= self.manners.cut_after or self._stopping.wait(1 / RATE):
                return
            if number >= self.manners.silent_after:
                self._stopping.wait(30)
                return
            for payload, is_last in _packets(self._frames[number % len(self._frames)]):
                packet += 1
                if self.manners.lose_every and packet % self.manners.lose_every == 0:
                    continue
                head = struct.pack(">BBHII", 0x80, 26 | (0x80 if is_last else 0), packet & 0xFFFF,
                                   number * (90000 // RATE), 0x5EED)
                link.sendall(struct.pack(">cBH", b"$", 0, len(head) + len(payload)) + head + payload)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _head(link: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = link.recv(1)
        if not more:
            return ""
        data += more
    return data.decode()


def _jpeg(number: int) -> bytes:
    grey = np.random.default_rng(number).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    picture = cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    is_made, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert is_made
    return data.tobytes()


def _packets(jpeg: bytes) -> list[tuple[bytes, bool]]:
    """RTP payloads of one baseline 4:2:0 JPEG, its quantisation tables in the first."""
    tables, scan = _taken_apart(jpeg)
    pieces = [scan[start : start + 1300] for start in range(0, len(scan), 1300)]
    payloads, offset = [], 0
    for index, piece in enumerate(pieces):
        head = struct.pack(">BBHBBBB", 0, offset >> 16, offset & 0xFFFF, 1, 255, WIDTH // 8, HEIGHT // 8)
        extra = struct.pack(">BBH", 0, 0, len(tables)) + tables if index == 0 else b""
        payloads.append((head + extra + piece, index == len(pieces) - 1))
        offset += len(piece)
    return payloads


def _taken_apart(jpeg: bytes) -> tuple[bytes, bytes]:
    tables, place = b"", 2
    while True:
        marker, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        body = jpeg[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xDB:
            tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        if marker == 0xDA:
            return tables, jpeg[place:-2]

"""Asking an RTSP server why it does not give us its stream, so that a refusal can be told in plain words.

The decoder says only that it could not open the address. RTSP: RFC 2326; Basic and Digest: RFC 7617, RFC 7616.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket

from device.camera.camera import CameraRefused
from device.camera.rtsp_address import RtspAddress
from device.errors import CameraLost

_MOST_HEAD = 64 << 10
_FIELD = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}
_METHOD = "DESCRIBE"


def check_reachable(address: RtspAddress, timeout_s: float) -> None:
    """CameraLost, saying why, where nothing accepts a connection within `timeout_s`."""
    try:
        socket.create_connection((address.host, address.port), timeout_s).close()
    except OSError as error:
        raise _unreachable(address, error) from None


def check_stream(address: RtspAddress, timeout_s: float) -> None:
    """Returns when the server describes a stream to us; CameraRefused for bad credentials, else CameraLost.

    timeout_s  of the connection and of each answer
    """
    try:
        with socket.create_connection((address.host, address.port), timeout_s) as link:
            status, head = _ask(link, address, 1, "")
            if status == 401 and address.name:
                status, head = _ask(link, address, 2, _authorization(address, head))
    except CameraLost:
        raise
    except OSError as error:
        raise _unreachable(address, error) from None
    _judge(address.shown, status, bool(address.name))


def _unreachable(address: RtspAddress, error: OSError) -> CameraLost:
    if isinstance(error, socket.gaierror):
        return CameraLost(f"{address.shown}: the name {address.host} is not known to the name server")
    if isinstance(error, TimeoutError):
        return CameraLost(f"{address.shown}: no answer; is the camera on, is port {address.port} open?")
    return CameraLost(f"{address.shown}: cannot be reached: {error.strerror or type(error).__name__}")


def _judge(name: str, status: int, has_name: bool) -> None:
    if status in (401, 403):
        what = "refuses the name or the password" if has_name else "asks for a name and a password"
        raise CameraRefused(f"{name}: the camera {what}; correct camera.source")
    if status in (404, 454):
        raise CameraLost(f"{name}: the camera has no stream of this path; see its manual for the path")
    if status >= 400:
        raise CameraLost(f"{name}: the camera answers with error {status}")


def _ask(link: socket.socket, address: RtspAddress, number: int, authorization: str) -> tuple[int, str]:
    """(status, head) of the answer to a DESCRIBE."""
    lines = [f"{_METHOD} {address.request} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp",
             "User-Agent: open-door"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    link.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    return _answer(link, address.shown)


def _answer(link: socket.socket, name: str) -> tuple[int, str]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = link.recv(4096)
        if not more or len(data) > _MOST_HEAD:
            raise CameraLost(f"{name}: what answers there is not an RTSP camera")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("ascii", "replace")
    status = re.match(r"RTSP/1\.\d (\d{3})", text)
    if not status:
        raise CameraLost(f"{name}: what answers there is not an RTSP camera")
    _skip_body(link, text, len(body))
    return int(status[1]), text


def _skip_body(link: socket.socket, head: str, have: int) -> None:
    length = re.search(r"^content-length:\s*(\d{1,9})", head, re.IGNORECASE | re.MULTILINE)
    left = min(int(length[1]) if length else 0, _MOST_HEAD) - have
    while left > 0:
        more = link.recv(min(left, 4096))
        if not more:
            return
        left -= len(more)


def _authorization(address: RtspAddress, head: str) -> str:
    """The Authorization for the strongest challenge that the server makes; empty where we know none of them."""
    challenges = re.findall(r"^www-authenticate:\s*(\w+)\s*([^\r\n]*)", head, re.IGNORECASE | re.MULTILINE)
    digests = [_fields(text) for scheme, text in challenges if scheme.lower() == "digest"]
    for algorithm in ("SHA-256", "MD5"):
        for fields in digests:
            if fields.get("algorithm", "MD5").upper() == algorithm:
                return _digest(address, fields, algorithm)
    if any(scheme.lower() == "basic" for scheme, _ in challenges):
        return "Basic " + base64.b64encode(f"{address.name}:{address.password}".encode()).decode("ascii")
    return ""


def _fields(text: str) -> dict[str, str]:
    return {key.lower(): re.sub(r'[\r\n"\\]', "", quoted or plain) for key, quoted, plain in _FIELD.findall(text)}


def _digest(address: RtspAddress, fields: dict[str, str], algorithm: str) -> str:
    def hashed(text: str) -> str:
        return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()

    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    secret = hashed(f"{address.name}:{realm}:{address.password}")
    what = hashed(f"{_METHOD}:{address.request}")
    parts = {"username": address.name.replace('"', ""), "realm": realm, "nonce": nonce, "uri": address.request}
    tail = ""
    if "auth" in fields.get("qop", ""):
        own = secrets.token_hex(8)
        parts["response"] = hashed(f"{secret}:{nonce}:00000001:{own}:auth:{what}")
        tail = f', qop=auth, nc=00000001, cnonce="{own}"'
    else:
        parts["response"] = hashed(f"{secret}:{nonce}:{what}")
    if "opaque" in fields:
        parts["opaque"] = fields["opaque"]
    if "algorithm" in fields:
        tail += f", algorithm={algorithm}"
    return "Digest " + ", ".join(f'{key}="{value}"' for key, value in parts.items()) + tail

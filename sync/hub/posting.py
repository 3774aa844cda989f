"""One POST to a stranger's server: what it answers is read as little as possible, and never for longer than stated.

Only the answer's status and its Retry-After are looked at; the rest is thrown away unread. Redirects are not
followed, no proxy is asked, and the address that was checked is the one that is connected to. Whatever happens is a
value: an answer with a status, or with a problem in one line that quotes nothing of what came. For `messenger`.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sync.hub.destination import HTTPS, AddressRefused, Destination

DEADLINE_S = 10.0  # for all of it: connection, TLS, request and the head of the answer
LONGEST_HEAD = 16_384
LONGEST_REST = 65_536
REST_S = 0.5  # the receiver may finish what it says, so that it does not take its end for an error
MOST_INTERIM = 4
MOST_ADDRESSES = 4
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?")
_RETRY = re.compile(rb"retry-after:[ \t]*([0-9]{1,6})[ \t]*", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """status: of the answer, 0 where there was none. retry_after_s: what the receiver asks for, 0 where nothing."""

    status: int
    problem: str = ""
    retry_after_s: int = 0

    @property
    def is_taken(self) -> bool:
        return 200 <= self.status < 300


class _NoAnswer(Exception):
    """What came is no answer; the message says why."""


def post(to: Destination, headers: Mapping[str, str], body: bytes, deadline_s: float = DEADLINE_S) -> Answer:
    """Send `body` once. Headers are the caller's own words: ASCII, without line ends."""
    end = time.monotonic() + deadline_s
    try:
        with _connected(to, end) as line:
            line.settimeout(_left(end))
            line.sendall(_request(to, headers, body))
            head, rest = _head(line, end)
            _hear_out(line, len(rest))
    except AddressRefused as error:
        return Answer(0, str(error))
    except (_NoAnswer, TimeoutError) as error:
        return Answer(0, str(error) if isinstance(error, _NoAnswer) else f"no answer within {deadline_s:.0f} s")
    except ssl.SSLCertVerificationError as error:
        return Answer(0, f"its certificate is not believed: {error.verify_message}")
    except (OSError, UnicodeError) as error:
        return Answer(0, f"cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"[:200])
    return _answer(head)


def _connected(to: Destination, end: float) -> socket.socket:
    """A connection to the first of the checked addresses that takes one."""
    failed: OSError = ConnectionRefusedError("no address")
    addresses = to.addresses()[:MOST_ADDRESSES]
    for place, address in enumerate(addresses):
        try:  # one that never answers leaves the others their share of the time
            plain = socket.create_connection((address, to.port), _left(end) / (len(addresses) - place))
        except OSError as error:
            failed = error
            continue
        try:
            plain.settimeout(_left(end))
            return _tls(to).wrap_socket(plain, server_hostname=to.host) if to.scheme == HTTPS else plain
        except BaseException:
            plain.close()
            raise
    raise failed


def _tls(to: Destination) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=to.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _request(to: Destination, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {to.target} HTTP/1.1", f"Host: {to.authority}", "Connection: close",
             f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("ascii") + _END + body


def _head(line: socket.socket, end: float) -> tuple[bytes, bytes]:
    """(the head of the final answer, what came of the rest). _NoAnswer where it is none."""
    data = b""
    for _ in range(MOST_INTERIM + 1):
        while _END not in data:
            if len(data) > LONGEST_HEAD:
                raise _NoAnswer("its answer is no HTTP, or its head is too long")
            line.settimeout(_left(end))
            more = line.recv(4096)
            if not more:
                raise _NoAnswer("it hung up without an answer")
            data += more
        head, _, data = data.partition(_END)
        if not head.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
            return head, data
    raise _NoAnswer("it says only that it will answer")


def _answer(head: bytes) -> Answer:
    first, *lines = head.split(b"\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        return Answer(0, "its answer is no HTTP")
    status = int(found.group(1))
    waits = [int(one.group(1)) for line in lines if (one := _RETRY.fullmatch(line))]
    problem = "" if 200 <= status < 300 else f"answers {status}"
    if 300 <= status < 400:
        problem += ", a redirect, which is not followed"
    return Answer(status, problem, waits[0] if waits else 0)


def _hear_out(line: socket.socket, heard: int) -> None:
    """Throw away what else it says, for a moment."""
    end = time.monotonic() + REST_S
    with contextlib.suppress(OSError):
        while heard < LONGEST_REST and (left := end - time.monotonic()) > 0:
            line.settimeout(left)
            more = line.recv(8192)
            if not more:
                return
            heard += len(more)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left

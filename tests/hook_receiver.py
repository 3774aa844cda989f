"""Receivers of webhooks on loopback, with a certificate of their own authority: they keep what came, and answer.

`Receiver` is a real HTTP server; `Rogue` takes a connection and says whatever bytes a test has it say.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from sync.hub.ca import Authority


class Got:
    """One request."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path, self.headers, self.body = path, headers, body

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.body)["data"]

    def is_signed(self, secret: str) -> bool:
        """As a receiver checks it, by the words of Standard Webhooks alone."""
        said = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        key = base64.b64decode(secret.split("_", 1)[1])
        mine = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        return any(hmac.compare_digest(one, f"v1,{mine}") for one in self.headers["webhook-signature"].split(" "))


class Receiver:
    """answers: the status of each request, by its number from 0; or (status, headers)."""

    def __init__(self, folder: Path | None = None, answers: Callable[[int], Any] = lambda number: 200,
                 port: int = 0) -> None:
        self.got: list[Got] = []
        self.answers = answers
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = len(receiver.got)
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append(Got(self.path, headers, body))
                answer = receiver.answers(number)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.ca = ""
        if folder is not None:
            authority = Authority.new("receiver", SystemClock())
            issued = authority.server(["localhost", "127.0.0.1"])
            chain = folder / "receiver.pem"
            chain.write_bytes(issued.key + issued.certificate)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.ca = authority.certificate_pem().decode()
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"{'https' if self.ca else 'http'}://localhost:{self.port}/doors?site=hq"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Rogue:
    """Takes each connection and hands it to `act`."""

    def __init__(self, act: Callable[[socket.socket], None]) -> None:
        self._act = act
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line, contextlib.suppress(OSError):
                line.recv(65536)
                self._act(line)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

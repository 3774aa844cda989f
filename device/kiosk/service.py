"""The thread in which the kiosk's server runs, on loopback only."""

from __future__ import annotations

import socket
import threading

from starlette.types import ASGIApp

from device.errors import HardwareMissing

HOST = "127.0.0.1"
STARTING_S = 10.0


class KioskService:
    """uvicorn in a thread of its own; `port` is where it listens."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        """HardwareMissing where the port is taken; 0 takes any free one."""
        import uvicorn

        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1,
            limit_concurrency=64, h11_max_incomplete_event_size=16_384, server_header=False))
        self._thread = threading.Thread(target=self._run, name="kiosk", daemon=True)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the server and everyone who listens to it."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STARTING_S)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        raise HardwareMissing(f"the kiosk cannot have port {port} ({error.strerror}): set kiosk.port") from None
    found.listen(64)
    return found

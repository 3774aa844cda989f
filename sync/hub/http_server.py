"""The API's server: uvicorn on a thread of its own, TLS always."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import uvicorn

from device.clock import Clock
from device.errors import ConfigError
from device.threads import Worker

_START_S = 10.0


class HttpServer:
    """Serves one ASGI application over TLS 1.2 or later. port 0 chooses a free one; `port` says which."""

    def __init__(self, app: Any, host: str, port: int, certificate: Path, key: Path, clock: Clock) -> None:
        self.host, self.certificate, self._key = host, certificate, key
        self._clock = clock
        self._socket = _bound(host, port)
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(app, ssl_certfile=str(certificate), ssl_keyfile=str(key), log_config=None,
                                access_log=False, server_header=False, limit_concurrency=200,
                                timeout_graceful_shutdown=3, lifespan="off")
        self._server = uvicorn.Server(config)
        self._worker = Worker("http", lambda _: self._server.run(sockets=[self._socket]), clock)

    def start(self) -> None:
        """Returns when it answers; ConfigError where it does not within 10 s."""
        self._worker.start()
        give_up = self._clock.mono() + _START_S
        while not self._server.started:
            if not self._worker.is_alive() or self._clock.mono() > give_up:
                raise ConfigError(f"the API does not start: {self._worker.error}")
            self._worker.stopping.wait(0.01)

    def renew(self) -> None:
        """Show the certificate that is in the file by now to whoever connects from now on."""
        context = self._server.config.ssl
        if context is not None:
            context.load_cert_chain(self.certificate, self._key)

    def stop(self) -> None:
        self._server.should_exit = True
        self._worker.stop()
        self._socket.close()


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"the API cannot listen on {host} port {port}: {error.strerror}; choose another") from None
    return listener

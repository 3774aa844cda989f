"""`fleethub run`: the hub at work, until it is told to stop; and what others need to reach it."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path
from typing import Any

from device.commands.console import say
from device.errors import UsageError
from device.notify import notify
from sync.hub.commands.opened import the_hub, where
from sync.hub.commands.setup import running


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("run", help="run the hub: API, broker's side, housekeeping",
                                 epilog="example: fleethub run --with-broker --listen 127.0.0.1:8443")
    parser.add_argument("--with-broker", action="store_true", help="start a private Mosquitto as well")
    parser.add_argument("--broker", metavar="HOST[:PORT]",
                        help="the site's broker, as terminals reach it; with --with-broker what it listens on")
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8443",
                        help="where the API listens, TLS always (default 127.0.0.1:8443)")
    parser.add_argument("--name", action="append", default=[], metavar="NAME",
                        help="a name or address under which the API is reached, beside localhost")
    parser.set_defaults(run=run)
    described = commands.add_parser("openapi", help="write the API's description",
                                    epilog="example: fleethub openapi openapi.json")
    described.add_argument("file", type=Path, metavar="FILE")
    described.set_defaults(run=run_openapi)


def run(arguments: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT; 0 then."""
    from sync.hub.api import application
    from sync.hub.claim_api import router
    from sync.hub.serve import Options, Service

    broker_host, broker_port = _address(arguments.broker or "127.0.0.1", None)
    api_host, api_port = _address(arguments.listen, 8443)
    if not arguments.with_broker and arguments.broker is None:
        raise UsageError("name the site's broker with --broker HOST:PORT, or have one started with --with-broker")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with the_hub(arguments) as hub, running(where(arguments)):
        service = Service(hub, Options(arguments.with_broker, broker_host, broker_port, api_host, api_port or 8443,
                                       tuple(arguments.name)))
        app = application(hub, service.claims, [router(service.claims, hub.clock)], service.is_well,
                          service.counts)
        try:
            service.start(app)
            port = service.http.port if service.http else api_port
            say(f"hub runs; API at https://{api_host}:{port}, broker at {broker_host}:{service.broker_port}, "
                f"authority in {where(arguments).run / 'ca.pem'}")
            notify("READY=1", "STATUS=ready")
            while not stopping.wait(60):
                pass
        finally:
            notify("STOPPING=1")
            service.stop()
    return 0


def run_openapi(arguments: argparse.Namespace) -> int:
    from sync.hub.api import application

    with the_hub(arguments) as hub:
        text = json.dumps(application(hub).openapi(), indent=1, ensure_ascii=False)
    try:
        arguments.file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.file}: {(error.strerror or 'cannot be written').lower()}") from None
    return 0


def _address(text: str, port: int | None) -> tuple[str, int | None]:
    """(host, port) of HOST, HOST:PORT or [HOST]:PORT."""
    host, separator, number = text.rpartition(":")
    if not separator or text.endswith("]"):
        return text.strip("[]"), port
    if ":" in host and not host.startswith("["):
        raise UsageError(f"{text!r}: write an IPv6 address as [ADDRESS]:PORT")
    if not number.isascii() or not number.isdigit() or not 0 <= int(number) <= 65535:
        raise UsageError(f"{text!r}: the port must be a number up to 65535")
    return host.strip("[]"), int(number)

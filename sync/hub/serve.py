"""The hub's wire side, composed and running: broker, link, ingest, distribution, and the API's server.

    service = Service(hub, Options(with_broker=True))
    service.start() ... service.stop()

Called by `fleethub run`.
"""

from __future__ import annotations

import logging
import queue
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.errors import StoreError
from device.threads import Worker
from sync.hub.broker import LOOPBACK, Broker
from sync.hub.broker_config import Files
from sync.hub.broker_files import BrokerFiles, authority_of, replace
from sync.hub.ca import SERVER_LIFE, is_renewal_due
from sync.hub.carrier import Address, Arrived, Carrier
from sync.hub.claims import Claims, Contact
from sync.hub.home_assistant import HomeAssistant
from sync.hub.home_settings import read_settings
from sync.hub.http_server import HttpServer
from sync.hub.hub import Hub
from sync.hub.messenger import Messenger
from sync.hub.roster import Roster
from sync.hub.wire_side import WireSide

log = logging.getLogger(__name__)

LOOK_S = 0.25  # how often other processes' changes, commands and states are looked for
TIDY_S = 600.0
AGAIN_S = 1.0
HEADS_AGAIN_S = (1.0, 4.0, 15.0)
PORT = 8883


@dataclass(frozen=True, slots=True)
class Options:
    """How a hub is run.

    with_broker   start a private Mosquitto; else `broker_host` and `broker_port` name a site's
    broker_host   as terminals reach it; with a private broker also what it listens on
    api_host      what the API listens on; None runs none
    api_names     under which names and addresses it is reached, beside localhost
    """

    with_broker: bool = False
    broker_host: str = LOOPBACK
    broker_port: int | None = None
    api_host: str | None = None
    api_port: int = 8443
    api_names: tuple[str, ...] = ()


class Service:
    """One running hub."""

    def __init__(self, hub: Hub, options: Options, clock: Clock | None = None) -> None:
        self.hub, self.options = hub, options
        self._clock = clock or hub.clock
        self.authority = authority_of(hub.keys, self._clock)
        self.roster = Roster(hub.storage)
        self.broker = self._private_broker() if options.with_broker else None
        self.claims = Claims(hub.storage, self.authority, self._contact, self._clock, self._claimed)
        files = self.broker.files if self.broker else Files(hub.where.run / "broker")
        self._files = BrokerFiles(files, _names(options.broker_host), self.authority, self.claims, self.roster,
                                  self._clock)
        self.carrier = Carrier(self._address(), self.roster.sites(), self._clock)
        self.wire = WireSide(hub, self.roster, self.carrier, self._clock, hub.where.run / "aside")
        self.messenger = Messenger(hub, self._clock)
        settings = read_settings(hub.where.home)
        self.home = None if settings is None else HomeAssistant(hub, settings, self._clock)
        self.http: HttpServer | None = None
        self._moved: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._shut_out: frozenset[str] = frozenset()
        self._evicting: frozenset[str] = frozenset()
        self._is_fleet_due = True
        self._looked_at = self._served_at = float("-inf")
        self._workers = [Worker("wire", self._work, self._clock), Worker("tidy", self._tidy, self._clock)]

    def start(self, app: Any = None) -> None:
        """Start everything; app is the API's ASGI application. BrokerMissing where there is no Mosquitto."""
        self._write_own_certificate()
        self._files.write()
        self._shut_out = frozenset(self.claims.shut_out())
        if self.broker:
            self.broker.start()
        self.hub.ledger.listen(self._has_moved)
        self.carrier.start()
        self.wire.catchup.thread.start()
        self.wire.deliveries.thread.start()
        self.messenger.start()
        if self.home:
            self.home.start()
        for worker in self._workers:
            worker.start()
        if app is not None and self.options.api_host is not None:
            self.http = self._http_server(app, self.options.api_host, self.options.api_port)
            self.http.start()

    def stop(self) -> None:
        if self.http:
            self.http.stop()
        for worker in self._workers:
            worker.stopping.set()
        self.carrier.wake()
        for worker in self._workers:
            worker.stop()
        self.messenger.stop()
        if self.home:
            self.home.stop()
        self.wire.catchup.thread.stop()
        self.wire.deliveries.thread.stop()
        self.carrier.stop()
        if self.broker:
            self.broker.stop()

    @property
    def broker_port(self) -> int:
        return self.broker.port if self.broker else self.options.broker_port or PORT

    def is_well(self) -> bool:
        """Whether the link is up and the wire's thread at work."""
        return self.carrier.is_up and self._workers[0].is_alive() and self._workers[0].silent_s() < 30

    def counts(self) -> dict[str, int]:
        """What was sent, taken in, refused and set aside since the start."""
        return dict(self.wire.counts())

    # --- the wire's thread -------------------------------------------------------------------------------

    def _work(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            worker.beat()
            try:
                self._look_round()
            except StoreError as error:
                log.error("%s", error)
                worker.stopping.wait(AGAIN_S)
            except Exception:
                log.exception("the wire's thread goes on after an error")
            try:
                arrived = self.carrier.inbox.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if arrived is not None:
                self._take(worker, arrived)

    def _take(self, worker: Worker, arrived: Arrived) -> None:
        """Deal with one message, however long the disk is full; only then the broker may forget it."""
        while not worker.stopping.is_set():
            worker.beat()
            try:
                self.wire.take(arrived.topic, arrived.data)
                self.carrier.done(arrived)
                return
            except StoreError as error:
                log.error("%s; trying again", error)
                worker.stopping.wait(AGAIN_S)

    def _look_round(self) -> None:
        moved = []
        while not self._moved.empty():
            moved.append(self._moved.get())
        now = self._clock.mono()
        is_due = now - self._looked_at >= LOOK_S
        if is_due:
            self._looked_at = now
            moved += self.hub.ledger.poll()
        if moved:
            self.wire.distributor.changed(list(dict.fromkeys(moved)))
        if is_due:
            self.wire.courier.tick()
        if self._is_fleet_due or now - self._served_at >= AGAIN_S:
            self._served_at, self._is_fleet_due = now, False
            self._serve_fleet()

    def _serve_fleet(self) -> None:
        self.carrier.watch()
        self.carrier.serve_sites(self.roster.sites())
        self._evict_the_shut_out()
        if self._files.write() and self.broker:
            self.broker.reload()
            # Whoever subscribed before the broker knew its groups was not given the heads that the broker keeps, and
            # a busy broker takes seconds to read its list anew.
            self.wire.distributor.say_heads_in(*HEADS_AGAIN_S)
        self.wire.look_after_fleet()

    def _evict_the_shut_out(self) -> None:
        """Who has come to be ours no longer loses the connection that it has; a round after the broker was told, so
        that it is not let in again."""
        if not self.broker:
            return
        now = frozenset(self.claims.shut_out())
        for terminal_id in sorted(self._evicting & now):
            self.carrier.evict(terminal_id)
        self._evicting, self._shut_out = now - self._shut_out, now

    def _has_moved(self, stream: str) -> None:
        self._moved.put(stream)
        self.carrier.wake()

    def _tidy(self, worker: Worker) -> None:
        while True:
            try:
                self.hub.tidy()
                self._renew_certificates()
            except StoreError as error:
                log.error("tidying: %s", error)
            for _ in range(int(TIDY_S / 10)):
                worker.beat()
                if worker.stopping.wait(10):
                    return

    # --- parts -------------------------------------------------------------------------------------------

    def _private_broker(self) -> Broker:
        return Broker(self.hub.where.run / "broker", self._clock, self.options.broker_host, self.options.broker_port)

    def _contact(self) -> Contact:
        identity = self.hub.keys.identity()
        return Contact(self.options.broker_host, self.broker_port, (identity.signer.public,), identity.opener.public)

    def _claimed(self) -> None:
        self._is_fleet_due = True
        self.carrier.wake()

    def _address(self) -> Address:
        run = self.hub.where.run
        return Address(self.options.broker_host, self.broker_port, run / "ca.pem", run / "hub.pem", run / "hub.key")

    def _write_own_certificate(self) -> None:
        own, where = self.authority.client(), self._address()
        for path, data in ((where.ca, self.authority.certificate_pem()), (where.certificate, own.certificate),
                           (where.key, own.key)):
            replace(path, data)

    def _renew_certificates(self) -> None:
        """Write the hub's own anew as they age: the one it shows the broker, and the API's."""
        if self._is_old(self._address().certificate):
            self._write_own_certificate()
            self.carrier.stop()
            self.carrier.start()
        if self.http and self._is_old(self.http.certificate):
            self._write_api_certificate(self.http.host)
            self.http.renew()

    def _is_old(self, certificate: Path) -> bool:
        return is_renewal_due(certificate.read_bytes(), self._clock.now(), SERVER_LIFE)

    def _http_server(self, app: Any, host: str, port: int) -> HttpServer:
        return HttpServer(app, host, port, *self._write_api_certificate(host), self._clock)

    def _write_api_certificate(self, host: str) -> tuple[Path, Path]:
        issued = self.authority.server(_names(*self.options.api_names, host))
        certificate, key = self.hub.where.run / "api.pem", self.hub.where.run / "api.key"
        replace(certificate, issued.certificate)
        replace(key, issued.key)
        return certificate, key


def _names(*given: str) -> list[str]:
    return list(dict.fromkeys((*(name for name in given if name not in ("", "0.0.0.0", "::")), "localhost",  # noqa: S104
                               LOOPBACK)))

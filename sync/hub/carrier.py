"""The hub's one connection to the broker; it carries bytes and decides nothing. Beside `home_link` the only
importer of paho here.

paho's callbacks only put what came on a bounded queue: an exception in one would end its network thread without a
word, so each is guarded as well. A message from a terminal is acknowledged to the broker when the hub has dealt with
it (`done`), not before: what a killed hub had in hand is delivered again. Whether the link lives is judged by what
the broker acknowledges, never by paho's own state.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.clock import Clock
from sync.hub.ca import HUB
from sync.wire.topics import TOPICS, Writer

log = logging.getLogger(__name__)

KEEPALIVE_S = 20
SESSION_S = 24 * 3600  # how long the broker keeps for us what terminals send while we are away
INBOX = 2000
RECEIVE_AT_ONCE = 200
OUTSTANDING = 60  # messages handed to paho and not acknowledged by the broker: about 15 MB of snapshot
SILENCE_S = 20.0
EVICTION_S = 5.0


class Link(Protocol):
    """How the hub's other parts send."""

    @property
    def is_up(self) -> bool: ...

    def publish(self, topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        """False where the link is down; nothing is queued then."""
        ...

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until a large message may be published; false where it may not yet."""
        ...


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message, and how to acknowledge it; or, with an empty topic, word that the link is up (again)."""

    topic: str
    data: bytes
    connection: int
    mid: int = 0

    def __repr__(self) -> str:
        return f"Arrived({self.topic}, {len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and the PEM files to reach it with."""

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path


class Carrier:
    """One MQTT 5 session that outlives connections. `inbox` is read by the one thread that ingests; None wakes it."""

    def __init__(self, address: Address, sites: Sequence[str], clock: Clock, client_id: str = HUB) -> None:
        self.inbox: queue.Queue[Arrived | None] = queue.Queue(INBOX)
        self.dropped = 0
        self._address, self._sites, self._clock, self._client_id = address, list(sites), clock, client_id
        # paho calls back on its own thread, and senders wait here for room.
        self._changed = threading.Condition()
        self._outstanding: dict[int, float] = {}
        self._acknowledged_early: set[int] = set()  # by the broker, before `publish` had come back
        self._is_up = False
        self._connection = 0
        self._client: mqtt.Client | None = None

    def start(self) -> None:
        """Connect in the background, and again whenever the link is lost."""
        self._client = self._new_client()
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S, clean_start=False,
                                   properties=_session())
        self._client.loop_start()

    def stop(self) -> None:
        client, self._client = self._client, None
        if client:
            client.disconnect()
            client.loop_stop()
        self._down()

    @property
    def is_up(self) -> bool:
        return self._is_up

    def watch(self) -> None:
        """Call now and then: begins anew where the broker has been silent for 20 s, or paho's thread has ended."""
        client = self._client
        if client is None:
            return
        with self._changed:
            oldest = min(self._outstanding.values(), default=None)
        is_silent = oldest is not None and self._clock.mono() - oldest > SILENCE_S
        thread = client._thread
        if is_silent or thread is None or not thread.is_alive():
            log.error("the link to the broker is dead; connecting anew")
            with contextlib.suppress(Exception):
                client.disconnect()
            client.loop_stop()
            self._down()
            self.start()

    def serve_sites(self, sites: Sequence[str]) -> None:
        """Listen for the terminals of these sites."""
        if set(sites) != set(self._sites):
            self._sites = list(sites)
            if self._client and self._is_up:
                self._subscribe(self._client)

    def publish(self, topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        client = self._client
        if client is None or not self._is_up:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expires_s is not None:
            properties.MessageExpiryInterval = max(expires_s, 1)
        # Not under our own lock: paho calls `_on_publish` while it holds the one that `publish` takes.
        info = client.publish(topic, data, 1, retain, properties)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            return False
        with self._changed:
            if info.mid in self._acknowledged_early:
                self._acknowledged_early.discard(info.mid)
            else:
                self._outstanding[info.mid] = self._clock.mono()
        return True

    def wait_for_room(self, timeout: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_up or len(self._outstanding) < OUTSTANDING, timeout)
            return self._is_up and len(self._outstanding) < OUTSTANDING

    def wake(self) -> None:
        """Have the reader of `inbox` look round."""
        with contextlib.suppress(queue.Full):
            self.inbox.put_nowait(None)

    def done(self, arrived: Arrived) -> None:
        """The message has been dealt with: the broker may forget it."""
        client = self._client
        # A number of an earlier connection may name another message by now.
        if client and arrived.mid and arrived.connection == self._connection and self._is_up:
            client.ack(arrived.mid, 1)

    def evict(self, client_id: str) -> None:
        """Have the broker end a client's connection and forget its session: whoever connects under its id takes its
        place. Waits 5 s at most."""
        there = threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
        client.tls_set_context(_context(self._address))
        client.on_connect = lambda *_: there.set()
        try:
            client.connect(self._address.host, self._address.port, KEEPALIVE_S, clean_start=True)
            client.loop_start()
            there.wait(EVICTION_S)
        except OSError as error:
            log.error("%s could not be evicted from the broker: %s", client_id, error)
            return
        client.disconnect()
        client.loop_stop()

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        client.suppress_exceptions = True
        client.tls_set_context(_context(self._address))
        client.reconnect_delay_set(1, 10)
        client.max_inflight_messages_set(20)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    def _subscribe(self, client: mqtt.Client) -> None:
        filters = [(topic.everywhere(site), 1) for site in self._sites for topic in TOPICS
                   if topic.writer is Writer.TERMINAL]
        if filters:
            client.subscribe(filters)

    # --- paho's thread -----------------------------------------------------------------------------------

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refuses the hub: %s", reason)
            return
        log.info("connected to the broker")
        self._subscribe(client)
        with self._changed:
            self._connection += 1
            self._is_up = True
            now = self._clock.mono()
            self._outstanding = dict.fromkeys(self._outstanding, now)
            self._changed.notify_all()
        self._put(Arrived("", b"", self._connection))

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._is_up:
            log.warning("the link to the broker is lost: %s", reason)
        self._down(is_forgotten=False)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._put(Arrived(message.topic, bytes(message.payload), self._connection, message.mid if message.qos else 0))

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._changed:
            if self._outstanding.pop(mid, None) is None:
                self._acknowledged_early.add(mid)
            self._changed.notify_all()

    def _put(self, arrived: Arrived) -> None:
        try:
            self.inbox.put_nowait(arrived)
        except queue.Full:
            # Not acknowledged, so it comes again with the next connection; and all of it is asked for by cursors.
            self.dropped += 1

    def _down(self, is_forgotten: bool = True) -> None:
        with self._changed:
            self._is_up = False
            if is_forgotten:
                self._outstanding.clear()
                self._acknowledged_early.clear()
            self._changed.notify_all()


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_S
    properties.ReceiveMaximum = RECEIVE_AT_ONCE
    return properties


def _context(address: Address) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(address.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(address.certificate, address.key)
    return context

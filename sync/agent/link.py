"""The connection to the broker; the only importer of paho here. It carries bytes and decides nothing.

An exception in one of paho's callbacks ends its network loop without a word, so they only enqueue, each guarded,
on a bounded queue, and wait while it is full: then nothing is read from the socket, so that a snapshot never fills
the memory. paho's thread is started and stopped by the agent's alone: its `loop_start` and `loop_stop` must not meet.
Messages are acknowledged to the broker when the agent is through with them (`Message.done`). Whether the
link lives is for the agent to judge by what the hub says; here is only `open` and `close`.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device.clock import Clock
from sync.agent.tls import tls

log = logging.getLogger(__name__)

KEEPALIVE_S = 28  # paho needs two of them to find a dead peer: within 60 s
SESSION_S = 3600  # what the broker keeps for us while we are away; cursors cover the rest
AT_ONCE = 8  # messages that the broker may send ahead of our acknowledgements: 2 MB of snapshot
INBOX = 16
PATIENCE_S = 25.0  # that a callback waits for room; no longer, or the broker takes us for dead
WAIT_S = 0.2
OUTBOX = 64
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is, and the PEM files to reach it with."""

    host: str
    port: int
    client_id: str
    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes that came on a topic; `done` tells the broker that it may forget them."""

    topic: str
    data: bytes = field(repr=False)
    done: Callable[[], None] = field(repr=False, compare=False, default=lambda: None)


@dataclass(frozen=True, slots=True)
class Up:
    """The broker has taken the connection: subscribe and report."""


@dataclass(frozen=True, slots=True)
class Down:
    """The connection is lost, or could not be made."""

    why: str


Event = Message | Up | Down


class Carrier(Protocol):
    """How the agent reaches the broker."""

    inbox: queue.Queue[Event]

    def open(self) -> Down | None: ...
    def close(self) -> None: ...
    def subscribe(self, topics: Sequence[str]) -> None: ...
    def unsubscribe(self, topics: Sequence[str]) -> None: ...

    def publish(self, topic: str, data: bytes, retain: bool = False) -> bool:
        """False where the link is down or takes no more now; nothing is kept then."""
        ...


class Link:
    """One MQTT 5 client. `open` and `close` come from the agent's thread, as often as it likes.

    is_clock_trusted  whether the wall clock may be gone by; where not, the broker's certificate is verified but for
                      its dates: a terminal whose clock was lost must connect to learn the time
    """

    def __init__(self, address: Address, will: tuple[str, bytes], is_clock_trusted: Callable[[], bool]) -> None:
        self.inbox: queue.Queue[Event] = queue.Queue(INBOX)
        self.dropped = 0
        self._address, self._will, self._is_clock_trusted = address, will, is_clock_trusted
        self._client: mqtt.Client | None = None

    def open(self) -> Down | None:
        """Begin to connect; an `Up` or a `Down` follows, unless it has failed already."""
        self.close()
        try:
            client = self._client = self._made()
        except (OSError, ValueError) as error:  # a certificate that cannot be read; ssl.SSLError is an OSError
            return Down(f"{type(error).__name__}: {error}")
        client.connect_async(self._address.host, self._address.port, KEEPALIVE_S, clean_start=False,
                             properties=_session())
        client.loop_start()
        return None

    def close(self) -> None:
        """End the connection; nothing more comes of it but what is in the inbox."""
        client, self._client = self._client, None
        if client is None:
            return
        was_connected = client.is_connected()
        with contextlib.suppress(Exception):
            client.disconnect()
        if was_connected:
            client.loop_stop()
        else:
            # It would be waited for as long as the connecting takes: up to 40 s where nobody answers.
            threading.Thread(target=client.loop_stop, name="link-ending", daemon=True).start()

    def subscribe(self, topics: Sequence[str]) -> None:
        if self._client is not None and topics:
            self._client.subscribe([(topic, 1) for topic in topics])

    def unsubscribe(self, topics: Sequence[str]) -> None:
        if self._client is not None and topics:
            self._client.unsubscribe(list(topics))

    def publish(self, topic: str, data: bytes, retain: bool = False) -> bool:
        client = self._client
        if client is None or not client.is_connected():
            return False
        return client.publish(topic, data, 1, retain).rc == mqtt.MQTT_ERR_SUCCESS

    def is_dead(self) -> bool:
        """Whether paho calls itself connected while its thread has ended: it would never say so."""
        client = self._client
        return client is not None and client.is_connected() and client._thread is None

    def _made(self) -> mqtt.Client:
        address = self._address
        client = mqtt.Client(CallbackAPIVersion.VERSION2, address.client_id, protocol=mqtt.MQTTv5,
                             reconnect_on_failure=False, manual_ack=True)
        client.suppress_exceptions = True
        context = tls(address.ca, self._is_clock_trusted())
        context.load_cert_chain(address.certificate, address.key)
        client.tls_set_context(context)
        client.max_inflight_messages_set(20)
        client.max_queued_messages_set(OUTBOX)
        client.will_set(self._will[0], self._will[1], 1, True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_message = self._on_connect_fail, self._on_message
        return client

    def _lost(self, client: mqtt.Client, why: str) -> None:
        self._put(client, Down(why))

    # --- paho's thread -------------------------------------------------------------------------------------

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._put(client, Down(str(reason)) if reason.is_failure else Up())

    def _on_connect_fail(self, client: mqtt.Client, userdata: Any) -> None:
        error = sys.exc_info()[1]  # what paho is dealing with when it calls this
        self._lost(client, f"{type(error).__name__}: {error}")

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._lost(client, str(reason))

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        mid, qos = message.mid, message.qos

        def done() -> None:
            if client is self._client and qos:
                client.ack(mid, qos)

        self._put(client, Message(message.topic, bytes(message.payload), done))

    def _put(self, client: mqtt.Client, event: Event) -> None:
        """Enqueue for the agent. While the queue is full paho's thread waits, and so does the broker: Mosquitto
        2.0.11 keeps to the receive maximum only until the first acknowledgement, and sent 23 MB ahead."""
        waited_s = 0.0
        while client is self._client and waited_s < PATIENCE_S:
            try:
                self.inbox.put(event, timeout=WAIT_S)
                return
            except queue.Full:
                waited_s += WAIT_S
        if client is self._client:
            # Not acknowledged, so it comes again with the next session; and cursors ask for what it held.
            self.dropped += 1


class Backoff:
    """When to try again: full jitter, so that a thousand terminals don't come back at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries = 0
        self.next_mono = clock.mono()

    def failed(self) -> float:
        """Seconds until the next try, drawn evenly from 0 to an end that doubles with every failure."""
        most_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._tries, 16))
        self._tries += 1
        wait_s = secrets.randbelow(int(1000 * most_s) + 1) / 1000
        self.next_mono = self._clock.mono() + wait_s
        return wait_s

    def succeeded(self) -> None:
        self._tries = 0


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_S
    properties.ReceiveMaximum = AT_ONCE
    return properties

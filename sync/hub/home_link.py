"""The hub's connection to Home Assistant's broker, apart from the one to its terminals; it decides nothing.

As in `carrier`, paho's callbacks only put what came on a bounded queue. The session is a new one each time, so the
broker keeps nothing for us: an order that came while we were away is none. Our own messages do not come back to us.
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
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from device.clock import Clock
from device.errors import ConfigError
from sync.hub.home_entities import OFFLINE
from sync.hub.home_settings import HomeSettings

log = logging.getLogger(__name__)

KEEPALIVE_S = 20
INBOX = 1000
LARGEST = 65_536  # what the broker may send us at a time
LONGEST_PAUSE_S = 60


@dataclass(frozen=True, slots=True)
class Heard:
    """One message; with an empty topic, word that the link is up (again). is_kept: the broker keeps it."""

    topic: str
    data: bytes
    is_kept: bool
    mono: float


class HomeLink:
    """One client. `inbox` is read by the one thread that decides."""

    def __init__(self, settings: HomeSettings, will: str, kept: Sequence[str], asked: Sequence[str],
                 clock: Clock, suffix: str = "") -> None:
        """will: the topic on which the broker says that we are gone. kept: filters of which we are told what the
        broker keeps; asked: filters of which it is not. suffix: of the client's name, where
        it is to stand beside the running hub. ConfigError for an authority that cannot be read."""
        self.inbox: queue.Queue[Heard] = queue.Queue(INBOX)
        self.dropped = 0
        self.refused = ""
        self.is_up = False
        self._pause = threading.Event()
        self._settings, self._will, self._clock, self._suffix = settings, will, clock, suffix
        self._filters = [(name, SubscribeOptions(qos=1, noLocal=True)) for name in kept]
        self._filters += [(name, SubscribeOptions(
            qos=0, noLocal=True, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND))
            for name in asked]
        self._password = settings.password()
        self._context = _context(settings.ca) if settings.tls else None
        self._client: mqtt.Client | None = None

    def start(self) -> None:
        """Connect in the background, and again whenever the link is lost."""
        self._client = client = self._new_client()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = LARGEST
        client.connect_async(self._settings.host, self._settings.port, KEEPALIVE_S, clean_start=True,
                             properties=properties)
        client.loop_start()

    def wait(self, seconds: float) -> bool:
        """Whether the link comes up within that time, and is not refused."""
        end = self._clock.mono() + seconds
        while not self.is_up and not self.refused and self._clock.mono() < end:
            self._pause.wait(0.05)
        return self.is_up

    def stop(self, is_said: bool = True) -> None:
        """Say that we are gone, if that is to be said, and go."""
        client, self._client = self._client, None
        if client is None:
            return
        if self.is_up and is_said:
            with contextlib.suppress(ValueError, RuntimeError):
                client.publish(self._will, OFFLINE, 1, True).wait_for_publish(2)
        self.is_up = False
        client.disconnect()
        client.loop_stop()

    def watch(self) -> None:
        """Call now and then: begins anew where paho's thread has ended."""
        client = self._client
        if client is not None and (client._thread is None or not client._thread.is_alive()):
            log.error("the link to Home Assistant's broker is dead; connecting anew")
            self.is_up = False
            client.loop_stop()
            self.start()

    def publish(self, topic: str, text: str, wait_s: float = 0.0) -> bool:
        """Have the broker keep `text` (nothing, where it is empty); false where the link is down.

        Without `wait_s` it is sent once (QoS 0): with every new link everything is sent anew, and what paho itself
        sent again might come after something newer.
        """
        client = self._client
        if client is None or not self.is_up:
            return False
        info = client.publish(topic, text.encode(), 1 if wait_s else 0, True)
        if wait_s and info.rc == mqtt.MQTT_ERR_SUCCESS:
            info.wait_for_publish(wait_s)
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, f"{self._settings.node}-hub{self._suffix}",
                             protocol=mqtt.MQTTv5)
        client.suppress_exceptions = True
        if self._context is not None:
            client.tls_set_context(self._context)
        if self._settings.account:
            client.username_pw_set(self._settings.account, self._password)
        if not self._suffix:
            client.will_set(self._will, OFFLINE, 1, True)
        client.reconnect_delay_set(1, LONGEST_PAUSE_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    # --- paho's thread -----------------------------------------------------------------------------------

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            if self.refused != str(reason):
                log.error("Home Assistant's broker refuses the hub: %s", reason)
            self.refused = str(reason)
            return
        self.refused = ""
        log.info("connected to Home Assistant's broker")
        if self._filters:
            client.subscribe(self._filters)
        self.is_up = True
        self._put(Heard("", b"", False, self._clock.mono()))

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self.is_up:
            log.warning("the link to Home Assistant's broker is lost: %s", reason)
        self.is_up = False

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._put(Heard(message.topic, bytes(message.payload), message.retain, self._clock.mono()))

    def _put(self, heard: Heard) -> None:
        try:
            self.inbox.put_nowait(heard)
        except queue.Full:
            self.dropped += 1


def _context(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(Path(ca)) if ca else None)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"{ca}: no certificates in PEM; name the broker's authority with ca") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context

"""A real Mosquitto with a certificate authority of its own, and clients of it, for tests."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion

from device.clock import SystemClock
from sync.hub.broker import Broker
from sync.hub.broker_config import Served, mosquitto_acl
from sync.hub.ca import HUB, Authority, Issued
from sync.wire.streams import group_stream

SITE = "site"


def request(name: str = "whoever") -> tuple[bytes, bytes]:
    """A certificate request and its private key, both PEM, as a terminal makes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return (csr.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption()))


def served(groups: dict[str, tuple[str, ...]]) -> list[Served]:
    """Of each terminal the groups that it serves, or whole names of streams."""
    return [Served(terminal_id, SITE, tuple(name if "/" in name else group_stream(name) for name in names))
            for terminal_id, names in groups.items()]


class PrivateBroker:
    """A broker on loopback, and certificates to reach it with."""

    def __init__(self, folder: Path, groups: dict[str, tuple[str, ...]] | None = None) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.authority = Authority.new(SITE, self.clock)
        self.broker = Broker(folder / "broker", self.clock)
        files = self.broker.files
        files.ca.write_bytes(self.authority.certificate_pem())
        server = self.authority.server(["127.0.0.1", "localhost"])
        files.certificate.write_bytes(server.certificate)
        files.key.write_bytes(server.key)
        files.revoked.write_bytes(self.authority.revocations(()))
        self.allow(groups or {})
        self.broker.start()

    @property
    def port(self) -> int:
        return self.broker.port

    def allow(self, groups: dict[str, tuple[str, ...]]) -> None:
        """Which terminal may read which groups' topics."""
        self.broker.files.acl.write_text(mosquitto_acl([SITE], served(groups)))
        self.broker.reload()

    def terminal(self, terminal_id: str) -> Issued:
        csr, key = request()
        return Issued(self.authority.sign_terminal(csr, terminal_id), key)

    def hub(self) -> Issued:
        return self.authority.client(HUB)

    def client(self, issued: Issued | None, client_id: str = "", port: int | None = None) -> Client:
        return Client(self, issued, client_id, port or self.port)

    def stop(self) -> None:
        self.broker.stop()


class Client:
    """A paho client that keeps what it receives."""

    def __init__(self, broker: PrivateBroker, issued: Issued | None, client_id: str, port: int) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.connected, self.gone = threading.Event(), threading.Event()
        self._arrived = threading.Condition()
        self._subscribed = threading.Event()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5,
                                reconnect_on_failure=False)
        self.mqtt.tls_set_context(context_of(broker, issued))
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_disconnect = lambda *_: self.gone.set()
        self.mqtt.on_message = self._on_message
        self.mqtt.on_subscribe = lambda *_: self._subscribed.set()
        self.mqtt.connect("127.0.0.1", port, keepalive=10)
        self.mqtt.loop_start()

    def _on_connect(self, client, userdata, flags, reason, properties) -> None:  # type: ignore[no-untyped-def]
        if not reason.is_failure:
            self.connected.set()

    def _on_message(self, client, userdata, message) -> None:  # type: ignore[no-untyped-def]
        with self._arrived:
            self.received.append((message.topic, message.payload))
            self._arrived.notify_all()

    def subscribe(self, *filters: str) -> None:
        self._subscribed.clear()
        self.mqtt.subscribe([(name, 1) for name in filters])
        assert self._subscribed.wait(5)

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> None:
        self.mqtt.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def wait_for(self, count: int, seconds: float = 5.0) -> list[tuple[str, bytes]]:
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.received) >= count, seconds)
            return list(self.received)

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def context_of(broker: PrivateBroker, issued: Issued | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=broker.authority.certificate_pem().decode())
    if issued is not None:
        chain = broker.folder / "chain.pem"
        chain.write_bytes(issued.key + issued.certificate)
        context.load_cert_chain(chain)
    return context


"""A house's own Mosquitto: TLS with an authority of its own, accounts with passwords, and who listens there."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from sync_samples import wait_until

from device.clock import SystemClock
from sync.hub.ca import Authority

PASSWORDS = {"hub": "a hub's password", "house": "a house's password"}


class HomeBroker:
    """May be stopped and started again; keeps nothing over that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority.new("house", SystemClock())
        server = authority.server(["localhost", "127.0.0.1"])
        self.ca, passwords = folder / "ca.pem", folder / "passwords"
        self.ca.write_bytes(authority.certificate_pem())
        (folder / "server.pem").write_bytes(server.certificate)
        (folder / "server.key").write_bytes(server.key)
        passwords.touch(mode=0o600)
        for account, password in PASSWORDS.items():
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), account, password], check=True)
        (folder / "password").write_text(PASSWORDS["hub"] + "\n")
        (folder / "password").chmod(0o600)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        me = pwd.getpwuid(os.geteuid()).pw_name
        (folder / "mosquitto.conf").write_text("\n".join((
            f"user {me}", "persistence false", f"listener {self.port} 127.0.0.1", "allow_anonymous false",
            f"password_file {passwords}", f"cafile {self.ca}", f"certfile {folder / 'server.pem'}",
            f"keyfile {folder / 'server.key'}")) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as sink:
            self._process = subprocess.Popen(["mosquitto", "-c", str(self.folder / "mosquitto.conf")], stdout=sink,
                                             stderr=sink,
                                             env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"})
        wait_until(self._listens)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(20)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def settings(self, **changes: Any) -> str:
        """home_assistant.toml for a hub of this house."""
        values = {"host": "localhost", "port": self.port, "ca": str(self.ca), "account": "hub",
                  "password_file": str(self.folder / "password"), **changes}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


class House:
    """Listens to everything, as Home Assistant may, and keeps the newest message of each topic."""

    def __init__(self, broker: HomeBroker) -> None:
        self.newest: dict[str, bytes] = {}
        self.all: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, "house", protocol=mqtt.MQTTv5)
        self.mqtt.tls_set_context(ssl.create_default_context(cafile=str(broker.ca)))
        self.mqtt.username_pw_set("house", PASSWORDS["house"])
        self.mqtt.on_connect = lambda *_: self.mqtt.subscribe("#", options=SubscribeOptions(
            qos=1, retainAsPublished=True))
        self.mqtt.on_subscribe = lambda *_: self._subscribed.set()
        self.mqtt.on_message = self._on_message
        self.mqtt.connect("localhost", broker.port)
        self.mqtt.loop_start()
        assert self._subscribed.wait(10)

    def _on_message(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self.all.append((message.topic, message.payload, message.retain))
        self.newest[message.topic] = message.payload

    def has(self, topic: str) -> bool:
        """Whether the broker keeps something there, as far as was heard."""
        return bool(self.newest.get(topic))

    def json(self, topic: str) -> dict[str, Any]:
        return json.loads(self.newest.get(topic) or b"{}")

    def say(self, topic: str, data: bytes, retain: bool = False, expiry: int | None = None) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        if expiry is not None:
            properties.MessageExpiryInterval = expiry
        self.mqtt.publish(topic, data, 1, retain, properties).wait_for_publish(5)

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

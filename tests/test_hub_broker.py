"""A real Mosquitto under the configuration and access list that follow from the table of topics."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest
from broker import SITE, PrivateBroker, request, served
from hub_samples import open_hub
from patience import SLOWER

from device.clock import SystemClock
from sync.hub import cli
from sync.hub.broker import Broker, BrokerMissing
from sync.hub.broker_config import Files, Served, emqx_acl, emqx_config, mosquitto_acl, mosquitto_config
from sync.hub.broker_files import authority_of
from sync.hub.ca import Authority, serial_of
from sync.hub.claims import Claims, Contact
from sync.wire.claim import Claim
from sync.wire.sign import Signer
from sync.wire.topics import COMMAND, GROUP_PAGES, JOURNAL, PAGES, REPORT, TOPICS, Writer

FOLLOWED = {"t1": ("staff", "area/hall-1"), "t2": ("guests", "area/hall-2")}
CONTACT = Contact("127.0.0.1", 8883, (b"s" * 32,), b"o" * 32)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    made = PrivateBroker(tmp_path_factory.mktemp("broker"), FOLLOWED)
    yield made
    made.stop()


def test_nobody_connects_without_a_certificate_of_this_authority(broker: PrivateBroker) -> None:
    stranger = Authority.new(SITE, SystemClock()).client("t1")
    for issued in (None, stranger):
        try:
            client = broker.client(issued)
        except (ssl.SSLError, ConnectionError):
            continue  # refused at once
        assert not client.connected.wait(1)
        client.close()


def test_a_terminal_writes_and_reads_its_own_topics_and_its_groups_and_nothing_else(broker: PrivateBroker) -> None:
    hub, one = broker.client(broker.hub()), broker.client(broker.terminal("t1"))
    assert hub.connected.wait(5)
    assert one.connected.wait(5)
    hub.subscribe(f"door/v1/{SITE}/terminal/+/+", "#")
    one.subscribe("door/#", "#", *(topic.everywhere(SITE) for topic in TOPICS))
    for topic in TOPICS:
        for owner in ("t1", "t2", "staff", "guests", "hall-1", "hall-2"):
            one.publish(topic.of(SITE, owner), b"one")
            hub.publish(topic.of(SITE, owner), b"hub")
    one.publish(REPORT.of("other", "t1"), b"one")
    one.publish(REPORT.of(SITE, "t1"), b"last")
    hub.publish(PAGES.of(SITE, "t1"), b"last")
    wait_for_last(hub)
    wait_for_last(one)
    heard = {(topic, data) for topic, data in hub.received if data == b"one"}
    assert heard == {(topic.of(SITE, "t1"), b"one") for topic in TOPICS
                     if topic.writer is Writer.TERMINAL and topic.scope == "terminal"}
    heard = {topic for topic, data in one.received if data == b"hub"}
    expected = {topic.of(SITE, "t1") for topic in TOPICS if topic.scope == "terminal" and topic.writer is Writer.HUB}
    expected |= {topic.of(SITE, "staff") for topic in TOPICS if topic.scope == "group"}
    expected |= {topic.of(SITE, "hall-1") for topic in TOPICS if topic.scope == "area"}
    assert heard == expected
    hub.close()
    one.close()


def test_a_new_group_is_readable_after_a_reload_without_a_new_connection(broker: PrivateBroker) -> None:
    hub, one = broker.client(broker.hub()), broker.client(broker.terminal("t3"))
    assert one.connected.wait(5)
    one.subscribe(GROUP_PAGES.of(SITE, "staff"))
    hub.publish(GROUP_PAGES.of(SITE, "staff"), b"before")
    broker.allow({"t3": ("staff",)})
    deadline = time.monotonic() + 5
    while not one.received and time.monotonic() < deadline:
        hub.publish(GROUP_PAGES.of(SITE, "staff"), b"after")
        time.sleep(0.05)
    assert one.received[0][1] == b"after"
    broker.allow(FOLLOWED)
    hub.close()
    one.close()


def test_a_revoked_terminal_cannot_come_back_after_a_reload(broker: PrivateBroker) -> None:
    issued = broker.terminal("t4")
    client = broker.client(issued)
    assert client.connected.wait(5)
    since = datetime.now(timezone.utc)
    broker.broker.files.revoked.write_bytes(broker.authority.revocations([(serial_of(issued.certificate), since)]))
    broker.broker.reload()
    client.close()
    time.sleep(0.3)
    try:
        again = broker.client(issued)
    except (ssl.SSLError, ConnectionError):
        pass
    else:
        assert not again.connected.wait(1)
        again.close()
    other = broker.client(broker.terminal("t5"))
    assert other.connected.wait(5)
    other.close()


def test_messages_for_an_absent_terminal_wait_beyond_mosquittos_stock_thousand(broker: PrivateBroker) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    issued = broker.terminal("t6")
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600

    def connect(on_message) -> mqtt.Client:  # type: ignore[no-untyped-def]
        from broker import CallbackAPIVersion, context_of

        client = mqtt.Client(CallbackAPIVersion.VERSION2, "t6", protocol=mqtt.MQTTv5)
        client.tls_set_context(context_of(broker, issued))
        client.on_connect = lambda *_: client.subscribe(PAGES.of(SITE, "t6"), 1)
        client.on_subscribe = lambda *_: subscribed.append(1)
        client.on_message = on_message
        client.connect("127.0.0.1", broker.port, clean_start=False, properties=properties)
        client.loop_start()
        return client

    subscribed: list[int] = []
    got: list[bytes] = []
    client = connect(lambda *_: None)
    wait_until(lambda: bool(subscribed))
    client.disconnect()
    client.loop_stop()
    hub = broker.client(broker.hub())
    for number in range(3000):
        last = hub.mqtt.publish(PAGES.of(SITE, "t6"), str(number).encode(), 1)
    last.wait_for_publish(20)
    client = connect(lambda c, u, message: got.append(message.payload))
    wait_until(lambda: len(got) >= 3000, 20)
    assert got == [str(number).encode() for number in range(3000)]
    client.disconnect()
    client.loop_stop()
    hub.close()


def test_a_killed_broker_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path)
    pid = broker.broker.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: broker.broker.pid not in (None, pid))
    wait_until(lambda: connects(broker))
    assert broker.broker.restarts == 1
    port = broker.port
    broker.stop()
    assert Broker(tmp_path / "broker", SystemClock()).port == port


def test_a_broker_left_behind_by_a_killed_hub_is_replaced(tmp_path: Path) -> None:
    left = PrivateBroker(tmp_path)
    left.broker._keeper.stop()
    again = Broker(tmp_path / "broker", SystemClock())
    again.start()
    assert left.broker._process.wait(30) in (0, -signal.SIGTERM)  # it may not have caught the signal yet
    assert again.pid is not None
    again.stop()


def test_a_broker_that_cannot_start_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BrokerMissing, match="mosquitto did not start") as caught:
        Broker(tmp_path, SystemClock()).start()
    assert "\n" not in str(caught.value)


def test_mosquittos_configuration_never_lets_anyone_in_unencrypted_or_unnamed(tmp_path: Path) -> None:
    lines = mosquitto_config(Files(tmp_path), 8883).splitlines()
    assert [line for line in lines if line.startswith("listener")] == ["listener 8883"]
    for line in ("require_certificate true", "use_identity_as_username true", "allow_anonymous false",
                 "tls_version tlsv1.2", "max_queued_messages 100000"):
        assert line in lines


def test_both_access_lists_name_every_topic_of_the_table(tmp_path: Path) -> None:
    fleet = [Served("t1", SITE, ("group/staff", "area/hall-1")), Served("t2", SITE, ())]
    acl, emqx = mosquitto_acl([SITE], fleet), emqx_acl([SITE], fleet)
    owners = {"terminal": "t1", "group": "staff", "area": "hall-1"}
    assert f"pattern read door/v1/{SITE}/terminal/%u/command" in acl
    assert f"pattern write door/v1/{SITE}/terminal/%u/journal" in acl
    assert f"topic write {COMMAND.everywhere(SITE)}" in acl
    assert f"topic read {JOURNAL.everywhere(SITE)}" in acl
    lines = [line for line in emqx.splitlines() if '"t1"' in line]
    for topic in TOPICS:
        action = "publish" if topic.writer is Writer.TERMINAL else "subscribe"
        own = topic.of(SITE, owners[topic.scope])
        assert f" {own}\n" in acl or topic.scope == "terminal", topic
        assert [line for line in lines if f", {action}, " in line and f'"{own}"' in line], topic
    assert emqx.endswith("{deny, all}.\n")
    others = "".join(line for line in emqx.splitlines() if '"t2"' in line)
    assert "/group/" not in others and "/area/" not in others
    assert "verify_peer" in emqx_config(Files(tmp_path), 8883)


def needs_the_brokers_account() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to the broker's account")
    try:
        pwd.getpwnam("mosquitto")
    except KeyError:
        pytest.skip("there is no account called mosquitto")


def test_a_sites_own_mosquitto_starts_with_what_root_has_written_for_it(
        tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    needs_the_brokers_account()
    hub = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    with tempfile.TemporaryDirectory(prefix="site-broker-") as parent, socket.socket() as probe:
        Path(parent).chmod(0o755)  # pytest's own folders are closed to everybody else
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        folder = Path(parent) / "door"
        assert cli.main(["--state", str(hub.where.root), "broker-config", "mosquitto", str(folder), "--name",
                         "127.0.0.1", "--port", str(port)]) == 0
        assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
        with (folder / "log").open("wb") as sink:
            process = subprocess.Popen(["mosquitto", "-c", str(folder / "mosquitto.conf")], stderr=sink,
                                       env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"})
        try:
            authority = authority_of(hub.keys, hub.clock)
            wait_until(lambda: shakes_hands(port, authority) or process.poll() is not None, 40)
            assert process.poll() is None, (folder / "log").read_text()
            assert Path(f"/proc/{process.pid}").stat().st_uid == pwd.getpwnam("mosquitto").pw_uid
            process.terminate()
            process.wait(30)
            assert (folder / "state" / "mosquitto.db").exists()
        finally:
            process.kill()
            process.wait(30)
    hub.close()


def shakes_hands(port: int, authority: Authority) -> bool:
    context = ssl.create_default_context(cadata=authority.certificate_pem().decode())
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as plain, \
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sealed:
        return sealed.version() is not None
    return False


def test_emqx_is_given_no_list_that_it_could_not_read(
        tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    claims = Claims(hub.storage, authority_of(hub.keys, hub.clock), lambda: CONTACT, hub.clock)
    for terminal_id in ("t1", "t2"):
        hub.fleet.add(terminal_id, "hq", ["staff"])
        claim = Claim(claims.issue(terminal_id), request()[0].decode(), Signer.new().public.hex(), "ab" * 32)
        claims.claim(msgspec.json.encode(claim))
    claims.revoke("t2")
    folder = tmp_path / "emqx"
    assert cli.main(["--state", str(hub.where.root), "broker-config", "emqx", str(folder), "--name", "b"]) == 0
    assert {path.name for path in folder.iterdir()} == {
        "emqx.conf", "acl", "ca.pem", "server.pem", "server.key", "names"}
    acl = (folder / "acl").read_text()
    assert '"t1"' in acl
    assert '"t2"' not in acl
    hub.close()


def test_who_is_shut_out_has_no_topic_at_either_broker() -> None:
    groups = {"t1": ("staff",)}
    assert "\nuser t9\ntopic deny #\n" in mosquitto_acl([SITE], served(groups), ["t9"])
    emqx = emqx_acl([SITE], served(groups))
    assert "allow, all" not in emqx
    assert '"t9"' not in emqx


def test_a_terminal_id_that_could_widen_a_topic_is_refused() -> None:
    for name in ("+", "#", "a/b", "a\nuser hub", ""):
        with pytest.raises(ValueError, match="cannot be"):
            mosquitto_acl([SITE], served({name: ("staff",)}))
        with pytest.raises(ValueError, match="cannot be"):
            mosquitto_acl([SITE], [], [name])
        with pytest.raises(ValueError, match="cannot be"):
            emqx_acl([SITE], served({name: ()}))


def wait_for_last(client) -> None:  # type: ignore[no-untyped-def]
    wait_until(lambda: any(data == b"last" for _, data in client.received))


def connects(broker: PrivateBroker) -> bool:
    try:
        client = broker.client(broker.hub())
    except OSError:
        return False
    is_up = client.connected.wait(1)
    client.close()
    return is_up


def wait_until(is_so, seconds: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds * SLOWER
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)

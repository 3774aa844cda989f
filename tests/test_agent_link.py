"""The agent's connection over a real Mosquitto: TLS, back-pressure, the last will, and a broker that goes away."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from datetime import timedelta

import pytest
from broker import SITE, PrivateBroker

from device.clock import HandClock, SystemClock
from sync.agent.link import INBOX, Address, Down, Link, Message, Up
from sync.hub.ca import Authority
from sync.wire import topics

PAGES = topics.PAGES.of(SITE, "t-1")
ONLINE = topics.ONLINE.of(SITE, "t-1")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = PrivateBroker(tmp_path_factory.mktemp("broker"), {"t-1": ("staff",)})
    yield broker
    broker.stop()


@pytest.fixture
def address(broker, tmp_path):
    issued = broker.terminal("t-1")
    for name, data in (("ca", broker.authority.certificate_pem()), ("cert", issued.certificate), ("key", issued.key)):
        (tmp_path / name).write_bytes(data)
    return Address("127.0.0.1", broker.port, "t-1", tmp_path / "ca", tmp_path / "cert", tmp_path / "key")


@pytest.fixture
def link(address):
    link = Link(address, (ONLINE, b"gone"), lambda: True)
    yield link
    link.close()


def opened(link):
    assert link.open() is None
    assert link.inbox.get(timeout=10) == Up()
    return link


def test_what_is_published_arrives_and_is_acknowledged(broker, link):
    opened(link).subscribe([PAGES])
    hub = broker.client(broker.hub(), "hub")
    time.sleep(0.3)
    hub.publish(PAGES, b"one")
    message = link.inbox.get(timeout=5)
    assert (message.topic, message.data) == (PAGES, b"one")
    message.done()
    hub.subscribe(topics.REPORT.everywhere(SITE))
    assert link.publish(topics.REPORT.of(SITE, "t-1"), b"report", True)
    assert hub.wait_for(1)[0][1] == b"report"
    hub.close()


def test_a_slow_agent_holds_the_broker_back(broker, link):
    opened(link).subscribe([PAGES])
    hub = broker.client(broker.hub(), "hub")
    time.sleep(0.3)
    for number in range(4 * INBOX):
        hub.mqtt.publish(PAGES, number.to_bytes(2, "big") * 50_000, 1)
    time.sleep(1.0)
    assert link.inbox.qsize() <= INBOX
    numbers = []
    while len(numbers) < 4 * INBOX:
        message = link.inbox.get(timeout=10)
        numbers.append(int.from_bytes(message.data[:2], "big"))
        message.done()
    assert numbers == list(range(4 * INBOX))
    assert link.dropped == 0
    hub.close()


def test_the_last_will_is_told_when_the_process_dies(broker, link):
    hub = broker.client(broker.hub(), "hub")
    hub.subscribe(topics.ONLINE.everywhere(SITE))
    opened(link)
    link._client._sock_close()
    assert any(data == b"gone" for _, data in hub.wait_for(1))
    hub.close()


def test_a_broker_that_dies_is_noticed_and_the_link_opens_again(broker, link):
    opened(link)
    os.kill(broker.broker.pid, signal.SIGKILL)
    assert isinstance(link.inbox.get(timeout=10), Down)
    deadline = time.monotonic() + 30
    while True:
        link.open()
        if isinstance(link.inbox.get(timeout=10), Up):
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_stranger_to_the_authority_is_not_let_in(address, broker, tmp_path):
    other = PrivateBroker(tmp_path / "other")
    issued = other.terminal("t-1")
    (tmp_path / "cert").write_bytes(issued.certificate)
    (tmp_path / "key").write_bytes(issued.key)
    other.stop()
    link = Link(address, (ONLINE, b""), lambda: True)
    link.open()
    assert isinstance(link.inbox.get(timeout=10), Down)
    link.close()


def test_files_that_cannot_be_read_are_told_at_once(address, tmp_path):
    (tmp_path / "cert").write_bytes(b"no certificate")
    assert isinstance(Link(address, (ONLINE, b""), lambda: True).open(), Down)


def test_an_old_connections_words_are_not_heard(link):
    opened(link)
    client = link._client
    link.close()
    link._put(client, Message("late", b""))
    with pytest.raises(queue.Empty):
        link.inbox.get(timeout=0.3)


def test_nothing_is_published_on_a_link_that_is_down(link):
    assert not link.publish(ONLINE, b"x")


# paho leaves a socket whose handshake failed to the garbage collector.
unclosed = pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")


@unclosed
def test_a_link_may_be_closed_while_it_is_being_made(address, monkeypatch):
    """A revoked certificate makes the broker hang up in the middle of the agent's own closing."""
    start = threading.Thread.start

    def slow(thread):
        if thread.name.startswith("paho"):
            time.sleep(0.3)  # as long as a busy machine takes between making a thread and starting it
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slow)
    link = Link(address, (ONLINE, b"gone"), lambda: True)
    for number in range(12):
        assert link.open() is None
        time.sleep(0.03 * number)
        link.close()
    has_ended()
    while not link.inbox.empty():
        link.inbox.get()
    opened(link)
    link.close()


def has_ended():
    """Wait for the links that were given up while they were being made."""
    for thread in threading.enumerate():
        if thread.name == "link-ending":
            thread.join(30)


def test_a_topic_that_is_not_wanted_any_more_is_let_go(broker, link):
    opened(link).subscribe([PAGES])
    hub = broker.client(broker.hub(), "hub")
    time.sleep(0.3)
    link.unsubscribe([PAGES])
    time.sleep(0.3)
    hub.publish(PAGES, b"unheard")
    with pytest.raises(queue.Empty):
        link.inbox.get(timeout=0.5)
    hub.close()


class OldBroker(PrivateBroker):
    """Its certificate ran out years ago, as any does for a terminal whose clock stands years ahead."""

    def __init__(self, folder, names=("127.0.0.1",)):
        super().__init__(folder, {"t-1": ()})
        self.stop()
        then = HandClock(SystemClock().now() - timedelta(days=3 * 365))
        server = Authority.load(self.authority.issued(), then).server(list(names))
        self.broker.files.certificate.write_bytes(server.certificate)
        self.broker.files.key.write_bytes(server.key)
        self.broker.start()

    def address(self, folder):
        issued = self.terminal("t-1")
        for name, data in (("ca", self.authority.certificate_pem()), ("cert", issued.certificate),
                           ("key", issued.key)):
            (folder / name).write_bytes(data)
        return Address("127.0.0.1", self.port, "t-1", folder / "ca", folder / "cert", folder / "key")


def answer(address, is_clock_trusted):
    link = Link(address, (ONLINE, b""), lambda: is_clock_trusted)
    try:
        assert link.open() is None
        return link.inbox.get(timeout=30)
    finally:
        link.close()
        has_ended()


@unclosed
def test_a_terminal_whose_clock_is_wrong_connects_and_one_whose_clock_is_right_does_not_take_what_ran_out(tmp_path):
    broker = OldBroker(tmp_path / "old")
    try:
        address = broker.address(tmp_path)
        assert answer(address, is_clock_trusted=False) == Up()
        refused = answer(address, is_clock_trusted=True)
        assert isinstance(refused, Down) and "expired" in refused.why
    finally:
        broker.stop()


@unclosed
def test_a_wrong_clock_is_no_leave_to_take_another_name_or_authority(tmp_path):
    broker = OldBroker(tmp_path / "old", ("elsewhere.example",))
    try:
        address = broker.address(tmp_path)
        refused = answer(address, is_clock_trusted=False)
        assert isinstance(refused, Down) and "certificate verify failed" in refused.why
        stranger = Authority.new("other", SystemClock())
        address.ca.write_bytes(stranger.certificate_pem())
        refused = answer(address, is_clock_trusted=False)
        assert isinstance(refused, Down) and "certificate verify failed" in refused.why
    finally:
        broker.stop()

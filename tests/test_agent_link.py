"""The agent's connection over a real Mosquitto: TLS, back-pressure, the last will, and a broker that goes away."""

from __future__ import annotations

import os
import queue
import signal
import time

import pytest
from broker import SITE, PrivateBroker

from sync.agent.link import INBOX, Address, Down, Link, Message, Up
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
    link = Link(address, (ONLINE, b"gone"))
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
    link = Link(address, (ONLINE, b""))
    link.open()
    assert isinstance(link.inbox.get(timeout=10), Down)
    link.close()


def test_files_that_cannot_be_read_are_told_at_once(address, tmp_path):
    (tmp_path / "cert").write_bytes(b"no certificate")
    assert isinstance(Link(address, (ONLINE, b"")).open(), Down)


def test_an_old_connections_words_are_not_heard(link):
    opened(link)
    client = link._client
    link.close()
    link._put(client, Message("late", b""))
    with pytest.raises(queue.Empty):
        link.inbox.get(timeout=0.3)


def test_nothing_is_published_on_a_link_that_is_down(link):
    assert not link.publish(ONLINE, b"x")

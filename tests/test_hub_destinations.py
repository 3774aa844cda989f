"""Where webhooks may be sent, and receivers that are hostile: no answer and no address does the hub any harm."""

from __future__ import annotations

import os
import socket
import time

import pytest
from hook_receiver import Rogue
from hub_samples import open_hub

from sync.hub.destination import AddressRefused, destination, refusal
from sync.hub.errors import FieldRefused
from sync.hub.posting import post


@pytest.fixture
def hub(tmp_path, tmp_path_factory):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    yield made
    made.close()


# --- hostile receivers ----------------------------------------------------------------------------------


def drip(line) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
        line.sendall(bytes([byte]))
        time.sleep(0.05)


HOSTILE = {
    "nothing": lambda line: None,
    "garbage": lambda line: line.sendall(os.urandom(3000) + b"\r\n\r\n"),
    "an endless head": lambda line: [line.sendall(b"X" * 4096) for _ in range(10_000)],
    "half a head": lambda line: line.sendall(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
    "a status that is none": lambda line: line.sendall(b"HTTP/1.1 2000 OK\r\n\r\n"),
    "another protocol": lambda line: line.sendall(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
    "a negative status": lambda line: line.sendall(b"HTTP/1.1 -200 OK\r\n\r\n"),
    "digits of elsewhere": lambda line: line.sendall("HTTP/1.1 ２００ OK\r\n\r\n".encode()),
    "interim answers without an end": lambda line: [line.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                                                    for _ in range(10_000)],
    "one byte at a time": drip,
}


@pytest.mark.parametrize("act", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_is_no_success_ends_in_time_and_is_not_quoted(act):
    rogue = Rogue(act)
    begun = time.monotonic()
    answer = post(destination(rogue.url, True), {}, b"{}", deadline_s=1.0)
    assert time.monotonic() - begun < 3
    assert not answer.is_taken
    assert answer.status == 0
    assert answer.problem.isascii()
    assert "SSH" not in answer.problem
    rogue.stop()


def test_an_endless_body_and_a_hostile_retry_after_change_nothing():
    def act(line):
        line.sendall(b"HTTP/1.1 200 OK\r\nRetry-After: 99999999999999999999\r\nRetry-After: -1\r\n\r\n")
        for _ in range(10_000):
            line.sendall(b"x" * 65536)

    rogue = Rogue(act)
    begun = time.monotonic()
    answer = post(destination(rogue.url, True), {}, b"{}")
    assert (answer.status, answer.retry_after_s) == (200, 0)
    assert time.monotonic() - begun < 3
    rogue.stop()


# --- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "http://receiver.example/", "ftp://receiver.example/", "https://", "https:///x", "//receiver.example/", "",
    "https://name:secret@receiver.example/", "https://receiver.example:99999/", "https://receiver.example/#part",
    "https://receiver.example/ x", "https://receiver.example/\r\nX: y", "https://receiver.example/é",
    "https://rece\r\niver.example/", "https://127.0.0.1/", "https://localhost/", "https://LOCALHOST:8443/",
    "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://0.0.0.0/", "https://169.254.169.254/latest",
    "https://[fe80::1]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://224.0.0.1/",
    "https://255.255.255.255/", "https://[::127.0.0.1]/", "https://127.1.2.3/", "https://[", "x" * 2000,
])
def test_an_address_that_must_not_be_sent_to_is_refused_when_it_is_given(hub, url):
    with pytest.raises(FieldRefused, match="url"):
        hub.webhooks.add(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "http://localhost/", "https://[::1]:9/",
                                 "https://receiver.example/doors?key=1", "https://10.1.2.3/", "https://[fd00::1]/"])
def test_what_may_be_sent_to_is_taken(url):
    assert destination(url, may_loopback=True).url == url


def test_a_name_is_judged_by_where_it_leads_each_time(monkeypatch):
    to = destination("https://receiver.example/")

    def leads(*names):
        monkeypatch.setattr("sync.hub.destination.socket.getaddrinfo", lambda *_, **__: [
            (2, 1, 6, "", (name, 443)) for name in names])

    leads("192.0.2.1", "10.0.0.5")
    assert to.addresses() == ["192.0.2.1", "10.0.0.5"]
    for hostile in ("127.0.0.1", "::1", "169.254.169.254", "0.0.0.1", "fe80::1%eth0", "::ffff:127.0.0.1"):
        leads("192.0.2.1", hostile)
        with pytest.raises(AddressRefused):
            to.addresses()
        assert post(to, {}, b"").problem


def test_an_address_that_never_answers_leaves_the_next_one_its_time(monkeypatch):
    rogue = Rogue(lambda line: line.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
    reached = socket.create_connection
    asked = []

    def connection(place, timeout):
        asked.append((place[0], timeout))
        if place[0] == "127.0.0.2":
            time.sleep(timeout)
            raise TimeoutError
        return reached(place, timeout)

    monkeypatch.setattr("sync.hub.posting.socket.create_connection", connection)
    monkeypatch.setattr("sync.hub.destination.Destination.addresses", lambda self: ["127.0.0.2", "127.0.0.1"])
    assert post(destination(rogue.url, True), {}, b"{}", deadline_s=2.0).is_taken
    assert [name for name, _ in asked] == ["127.0.0.2", "127.0.0.1"]
    assert 0.9 < asked[0][1] <= 1.0
    rogue.stop()


def test_numbers_that_mean_loopback_in_disguise_reach_nothing(hub):
    for name in ("2130706433", "0x7f000001", "0177.0.0.1", "127.1"):
        rogue = Rogue(lambda line: line.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
        to = destination(f"https://{name}:{rogue.port}/")
        assert post(to, {}, b"{}").status == 0
        rogue.stop()


def test_this_machines_own_addresses_count_as_loopback(monkeypatch):
    assert "this machine itself" in refusal("127.0.0.1", False)
    monkeypatch.setattr("sync.hub.destination._is_own", lambda ip: str(ip) == "192.0.2.7")
    assert "this machine itself" in refusal("192.0.2.7", False)
    assert refusal("192.0.2.8", False) == ""
    assert refusal("192.0.2.8", False, is_plain=True)

"""The hub's wire side as one service, over a real Mosquitto, heard by a terminal that only listens and reports."""

from __future__ import annotations

import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from fastapi import FastAPI
from hub_samples import Client, open_hub
from sqlalchemy import event
from sync_samples import WireTerminal, enrol, wait_until

from device.clock import HandClock, SystemClock
from sync.hub import cli
from sync.hub.api import application
from sync.hub.broker_files import authority_of, replace
from sync.hub.ca import end_of, serial_of
from sync.hub.claim_api import router
from sync.hub.serve import Options, Service
from sync.wire.messages import Acked, Desired, GroupKey, Head, Order


@pytest.fixture
def service(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    hub = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())  # type: ignore[arg-type]
    service = Service(hub, Options(with_broker=True))
    service.start()
    wait_until(service.is_well)
    yield service
    service.stop()
    hub.close()


def joined(service: Service, terminal_id: str = "t1", groups: tuple[str, ...] = ("staff",)) -> WireTerminal:
    service.hub.fleet.add(terminal_id, "hq", groups)
    terminal = WireTerminal.claimed(service, terminal_id)
    terminal.connect()
    return terminal


def test_a_terminal_that_reports_is_told_its_key_its_snapshot_and_every_change_after(service: Service) -> None:
    first = enrol(service.hub, 1)
    terminal = joined(service)
    terminal.report()
    wait_until(lambda: {page.stream for page in terminal.pages()} == {"group/staff", "terminal/t1"})
    assert [key.group for key in terminal.got(GroupKey)] == ["staff"]
    assert {page.form for page in terminal.pages()} == {"snapshot"}
    assert terminal.known("group/staff") == first
    terminal.stands_at_what_it_got()
    terminal.report()
    time.sleep(0.3)
    before = len(terminal.pages())
    second = enrol(service.hub, 1, first=100)
    wait_until(lambda: len(terminal.pages()) > before)
    page = terminal.pages()[-1]
    assert (page.form, page.stream, page.from_seq) == ("delta", "group/staff", terminal.pages()[-2].to_seq)
    assert page.digest == service.hub.ledger.head("group/staff").digest
    assert terminal.known("group/staff") == first | second
    assert len(terminal.pages()) == before + 1
    terminal.close()


def test_heads_are_kept_by_the_broker_and_name_the_ledgers_state(service: Service) -> None:
    enrol(service.hub, 1)
    terminal = joined(service)
    terminal.report()  # by which it is given the key that heads are sealed under
    wait_until(lambda: terminal.got(Head))
    head = service.hub.ledger.head("group/staff")
    wait_until(lambda: any((one.seq, one.digest) == (head.seq, head.digest) for one in terminal.got(Head)))
    terminal.close()


def test_events_are_stored_once_and_acknowledged_after_that(service: Service) -> None:
    terminal = joined(service)
    for _ in range(2):
        terminal.send_journal(1, 50)
    wait_until(lambda: any(one.seq == 50 for one in terminal.got(Acked)))
    terminal.send_journal(51, 60)
    wait_until(lambda: any(one.seq == 60 for one in terminal.got(Acked)))
    assert service.hub.events.count("t1") == 60
    terminal.close()


def test_a_gap_in_the_journal_is_not_taken_and_the_old_place_is_named_again(service: Service) -> None:
    terminal = joined(service)
    terminal.send_journal(1, 10)
    terminal.send_journal(21, 30)
    wait_until(lambda: len(terminal.got(Acked)) >= 2)
    assert [one.seq for one in terminal.got(Acked)] == [10, 10]
    assert service.hub.events.count("t1") == 10
    terminal.close()


def test_a_command_and_a_state_reach_the_terminal_they_are_for_and_no_other(service: Service) -> None:
    one, two = joined(service), joined(service, "t2")
    one.report()
    two.report()
    wait_until(lambda: all(service.hub.fleet.get(name).boot_id for name in ("t1", "t2")))
    service.hub.orders.command("t1", "release", 3.0)
    service.hub.orders.want("t1", "lockdown")
    wait_until(lambda: one.got(Order) and one.got(Desired))
    assert one.got(Order)[0].boot_id == one.boot_id
    assert not two.got(Order)
    assert not two.got(Desired)
    one.close()
    two.close()


def test_a_terminal_that_leaves_a_group_is_told_to_hold_nothing_of_it_and_the_key_changes(service: Service) -> None:
    enrol(service.hub, 1)
    one, two = joined(service, "t1"), joined(service, "t2")
    for terminal in (one, two):
        terminal.report()
        wait_until(lambda terminal=terminal: len(terminal.pages()) == 2)
        terminal.stands_at_what_it_got()
        terminal.report()
    service.hub.fleet.set_groups("t1", ["lab"])
    wait_until(lambda: any(page.stream == "group/staff" and page.key_id == "terminal" for page in one.pages()))
    page = next(page for page in one.pages() if page.stream == "group/staff" and page.key_id == "terminal")
    assert (page.form, one.body(page).puts, one.body(page).templates) == ("snapshot", (), ())
    enrol(service.hub, 1, first=50)
    wait_until(lambda: len(two.got(GroupKey)) == 2)
    wait_until(lambda: two.pages()[-1].form == "delta")
    assert two.pages()[-1].key_id == two.got(GroupKey)[-1].key_id
    time.sleep(0.3)
    assert not [page for page in one.pages() if page.key_id == two.pages()[-1].key_id]
    one.close()
    two.close()


def test_a_terminal_that_has_seen_more_than_the_ledger_makes_it_begin_anew(service: Service) -> None:
    enrol(service.hub, 1)
    terminal = joined(service)
    terminal.report()
    wait_until(lambda: len(terminal.pages()) == 2)
    terminal.stands_at_what_it_got()
    epoch = service.hub.ledger.epoch
    terminal.cursors["group/staff"] = msgspec.structs.replace(terminal.cursors["group/staff"], seq=10_000)
    terminal.report()
    wait_until(lambda: service.hub.ledger.epoch != epoch)
    wait_until(lambda: any(page.epoch == service.hub.ledger.epoch for page in terminal.pages()))
    terminal.close()


def test_forged_and_misplaced_and_senseless_messages_are_counted_and_nothing_else(service: Service) -> None:
    one, two = joined(service), joined(service, "t2")
    one.publish("report", b"garbage")
    one.publish("report", two.report_bytes())
    one.publish("journal", one.report_bytes())
    one.signer, signer = two.signer, one.signer
    one.report()
    one.signer = signer
    wait_until(lambda: service.counts().get("refused", 0) >= 4)
    assert service.hub.fleet.get("t1").reported is None
    one.report()
    wait_until(lambda: service.hub.fleet.get("t1").reported is not None)
    one.close()
    two.close()


def test_a_message_that_makes_a_handler_raise_is_set_aside_and_the_next_is_dealt_with(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = joined(service)
    kept = service.hub.fleet.seen
    monkeypatch.setattr(type(service.hub.fleet), "seen", lambda *_: 1 / 0)
    terminal.say_online()
    wait_until(lambda: service.counts().get("set aside", 0) >= 1)
    monkeypatch.setattr(type(service.hub.fleet), "seen", lambda self, *given: kept(*given))
    terminal.say_online()
    wait_until(lambda: service.hub.fleet.get("t1").is_online)
    assert list((service.hub.where.run / "aside").iterdir())
    terminal.close()


def test_a_full_disk_at_the_hub_loses_no_message(service: Service) -> None:
    terminal, engine = joined(service), service.hub.storage._engine
    terminal.send_journal(1, 10)
    wait_until(lambda: service.hub.events.count("t1") == 10)

    is_full = True

    def limit(connection: Any, *_: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if is_full else 2**32 - 2
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(engine, "checkout", limit)
    for first in range(11, 2011, 500):
        terminal.send_journal(first, first + 499)
    time.sleep(2)
    assert service.hub.events.count("t1") < 2010
    is_full = False
    wait_until(lambda: service.hub.events.count("t1") == 2010)
    wait_until(lambda: terminal.got(Acked)[-1].seq == 2010)
    terminal.close()


def test_a_revoked_terminal_is_not_heard_any_more(service: Service) -> None:
    terminal = joined(service)
    terminal.report()
    wait_until(lambda: service.hub.fleet.get("t1").reported is not None)
    service.claims.revoke("t1")
    reported = service.hub.fleet.get("t1").reported
    refused = service.counts().get("refused", 0)
    try:
        terminal.report()
        wait_until(lambda: service.counts().get("refused", 0) > refused, 2)
    except AssertionError:
        pass  # the broker let go of it already
    assert service.hub.fleet.get("t1").reported == reported
    terminal.close()


def over_http(method: str, path: str) -> Callable[[Service], None]:
    def do(service: Service) -> None:
        client = Client(application(service.hub, service.claims), service.hub.tokens.make("admin")[0])
        assert client.request(method, f"/api/v1{path}").is_success

    return do


def by_command(*words: str) -> Callable[[Service], None]:
    def do(service: Service) -> None:
        assert cli.main(["--state", str(service.hub.where.root), *words]) == 0

    return do


@pytest.mark.parametrize("shut_out", [
    by_command("terminal", "revoke", "t1"), by_command("terminal", "remove", "t1"),
    over_http("POST", "/terminals/t1/revocation"), over_http("DELETE", "/terminals/t1")])
def test_a_terminal_that_is_shut_out_from_anywhere_is_cut_off_at_once_and_does_not_come_back(
        service: Service, shut_out: Callable[[Service], None]) -> None:
    one, two = joined(service), joined(service, "t2")
    gone = threading.Event()
    one.client.on_disconnect = lambda *_: gone.set()
    files = service.broker.files  # type: ignore[union-attr]
    assert len(x509.load_pem_x509_crl(files.revoked.read_bytes())) == 0
    shut_out(service)
    wait_until(gone.is_set)
    assert len(x509.load_pem_x509_crl(files.revoked.read_bytes())) == 1
    assert "user t1\ntopic deny #" in files.acl.read_text()
    time.sleep(2.5)  # by now it has tried to come back
    assert not one.client.is_connected()
    two.report()
    wait_until(lambda: service.hub.fleet.get("t2").reported is not None)
    one.close()
    two.close()


def test_what_a_terminal_that_is_shut_out_says_over_the_connection_that_it_has_does_not_reach_the_hub(
        service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.carrier, "evict", lambda terminal_id: None)
    one, two = joined(service), joined(service, "t2")
    one.report()
    wait_until(lambda: service.hub.fleet.get("t1").reported is not None)
    service.claims.revoke("t1")
    files = service.broker.files  # type: ignore[union-attr]
    wait_until(lambda: "user t1\ntopic deny #" in files.acl.read_text())
    time.sleep(1)  # the broker has read it by now
    refused = service.counts().get("refused", 0)
    for _ in range(5):
        one.report()
    two.report()
    wait_until(lambda: service.hub.fleet.get("t2").reported is not None)
    assert one.client.is_connected()
    assert service.counts().get("refused", 0) == refused
    one.close()
    two.close()


def test_the_apis_certificate_is_renewed_while_it_serves(service: Service) -> None:
    server = service.http = service._http_server(FastAPI(), "127.0.0.1", 0)
    server.start()
    long_ago = HandClock(service.hub.clock.now() - timedelta(days=300))
    old = authority_of(service.hub.keys, long_ago).server(["127.0.0.1"])
    replace(server.certificate, old.certificate)
    replace(server._key, old.key)
    server.renew()
    address = ("127.0.0.1", server.port)
    assert serial_of(ssl.get_server_certificate(address).encode()) == serial_of(old.certificate)
    service._renew_certificates()
    shown = ssl.get_server_certificate(address).encode()
    assert serial_of(shown) != serial_of(old.certificate)
    assert end_of(shown) > service.hub.clock.now() + timedelta(days=390)
    service._renew_certificates()
    assert ssl.get_server_certificate(address).encode() == shown


def test_claiming_works_over_tls_with_the_hubs_own_authority(service: Service) -> None:
    app = FastAPI()
    app.include_router(router(service.claims, service.hub.clock))
    server = service._http_server(app, "127.0.0.1", 0)
    server.start()
    context = ssl.create_default_context(cadata=service.authority.certificate_pem().decode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"https://127.0.0.1:{server.port}/claim", b"{}", 5, context=context)
    assert caught.value.code == 422
    caught.value.close()
    server.stop()

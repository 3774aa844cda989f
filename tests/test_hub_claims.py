"""Claim codes: good once, for a while, for one of a hundred; renewal; revocation."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from broker import SITE, request
from cryptography import x509
from fastapi import FastAPI
from fault_figures import Figure
from hub_samples import li_wei, open_hub

from device.clock import HandClock
from device.store.trust import MessageRefused
from sync.hub import schema
from sync.hub.ca import Authority, RequestRefused, serial_of
from sync.hub.claim_api import FAILURES, router
from sync.hub.claims import ClaimRefused, Claims, Contact
from sync.hub.errors import FieldRefused, InTheWay
from sync.hub.storage import Storage
from sync.wire.claim import Claim, Renewal, sign_renewal
from sync.wire.sign import Signer

CONTACT = Contact("127.0.0.1", 8883, (b"s" * 32,), b"o" * 32)


@dataclass
class Desk:
    storage: Storage
    authority: Authority
    claims: Claims
    clock: HandClock
    changes: list[int]

    def revoked(self) -> set[int]:
        return {entry.serial_number for entry in x509.load_pem_x509_crl(self.claims.revocations())}


@pytest.fixture
def desk(tmp_path: Path):  # type: ignore[no-untyped-def]
    clock = HandClock()
    storage = Storage.open(tmp_path / "hub.db")
    authority, changes = Authority.new(SITE, clock), list[int]()
    with storage.write() as tx:
        tx.run(sa.insert(schema.sites).values(site_id=SITE))
        for terminal_id in ("t1", "t2"):
            tx.run(sa.insert(schema.terminals).values(terminal_id=terminal_id, site_id=SITE, created=0))
    claims = Claims(storage, authority, lambda: CONTACT, clock, lambda: changes.append(1))
    yield Desk(storage, authority, claims, clock, changes)
    storage.close()


def ask(code: str, signer: Signer | None = None) -> Claim:
    public = (signer or Signer.new()).public.hex()
    return Claim(code, request()[0].decode(), public, "ab" * 32)


def post(claim: Claim) -> bytes:
    return msgspec.json.encode(claim)


def test_a_code_brings_everything_that_a_terminal_needs(desk: Desk) -> None:
    given = desk.claims.claim(post(ask(desk.claims.issue("t1"))))
    certificate = x509.load_pem_x509_certificate(given.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=t1"
    assert (given.terminal_id, given.site, given.broker_host, given.broker_port) == ("t1", SITE, "127.0.0.1", 8883)
    assert given.hub_signing == ((b"s" * 32).hex(),)
    assert given.ca.encode() == desk.authority.certificate_pem()
    assert desk.changes == [1]


def test_of_a_hundred_who_bring_one_code_at_once_one_is_served(desk: Desk, figure: Figure) -> None:
    code, outcomes, start = desk.claims.issue("t1"), list[str](), threading.Barrier(100)
    posts = [post(ask(code)) for _ in range(100)]

    def attempt(data: bytes) -> None:
        start.wait()
        try:
            desk.claims.claim(data)
            outcomes.append("served")
        except ClaimRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt, args=[data]) for data in posts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 99 + ["served"]
    figure("F57", "a hundred at once with one code: 1 served, 99 refused")


def test_a_code_is_read_however_it_is_typed_and_lies_nowhere_in_clear(desk: Desk, tmp_path: Path) -> None:
    code = desk.claims.issue("t1")
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert code.replace("-", "").encode() not in raw
    assert code.encode() not in raw
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert desk.claims.claim(post(ask(typed))).terminal_id == "t1"


def test_a_code_is_void_after_its_time_after_its_use_and_after_a_newer_one(desk: Desk) -> None:
    first = desk.claims.issue("t1")
    second = desk.claims.issue("t1")
    for refused in (first, "", "0" * 20, second[:-1], "é" * 20):
        with pytest.raises((ClaimRefused, MessageRefused)):
            desk.claims.claim(post(ask(refused)))
    desk.claims.claim(post(ask(second)))
    with pytest.raises(ClaimRefused, match="unknown, used or expired"):
        desk.claims.claim(post(ask(second)))
    late = desk.claims.issue("t1")
    desk.clock.advance(72 * 3600 + 1)
    with pytest.raises(ClaimRefused):
        desk.claims.claim(post(ask(late)))


def test_a_terminal_is_let_in_by_the_code_that_it_shows_itself(desk: Desk) -> None:
    shown = "DOOR1:4F2A91C0:8K2M4-Q1TZ9-0RW3X-7HCVN"
    older = desk.claims.issue("t1")
    desk.claims.expect("t1", shown.lower() + "\n")
    with pytest.raises(ClaimRefused):
        desk.claims.claim(post(ask(older)))
    assert desk.claims.claim(post(ask("8K2M4-Q1TZ9-0RW3X-7HCVN"))).terminal_id == "t1"
    for terminal in ("t1", "t2"):
        with pytest.raises(InTheWay, match="shows a fresh one"):
            desk.claims.expect(terminal, shown)
    with pytest.raises(ClaimRefused):
        desk.claims.expect("t9", "8K2M4-Q1TZ9-0RW3X-7HCVP")


def test_of_many_who_enter_one_code_at_the_same_moment_one_is_served_and_the_others_are_told(desk: Desk) -> None:
    def enter(terminal_id: str) -> str:
        barrier.wait()
        try:
            desk.claims.expect(terminal_id, "8K2M4-Q1TZ9-0RW3X-7HCVN")
        except InTheWay:
            return "told before"
        return "served"

    for _ in range(10):
        barrier = threading.Barrier(8)
        with desk.storage.write() as tx:
            tx.run(sa.delete(schema.claims))
        with ThreadPoolExecutor(8) as pool:
            assert Counter(pool.map(enter, ["t1", "t2"] * 4)) == {"served": 1, "told before": 7}


@pytest.mark.parametrize("shown", ["", "DOOR1:4F2A91C0:", "8K2M4-Q1TZ9-0RW3X-7HCV", "8K2M4-Q1TZ9-0RW3X-7HCVNN",
                                   "8K2M4-Q1TZ9-0RW3X-7HCVU", "https://example.org/", "é" * 20])
def test_what_no_terminal_shows_is_no_code(desk: Desk, shown: str) -> None:
    code = desk.claims.issue("t1")
    with pytest.raises(FieldRefused):
        desk.claims.expect("t1", shown)
    assert desk.claims.claim(post(ask(code))).terminal_id == "t1"


def test_a_request_that_is_not_in_order_leaves_the_code_good(desk: Desk) -> None:
    code = desk.claims.issue("t1")
    with pytest.raises(RequestRefused):
        desk.claims.claim(post(replace_csr(ask(code), "nonsense")))
    for broken in (b"", b"[]", b'{"code": 1}', post(ask(code))[:-5], b"{" * 10_000):
        with pytest.raises(MessageRefused):
            desk.claims.claim(broken)
    assert desk.claims.claim(post(ask(code))).terminal_id == "t1"


def test_claiming_anew_revokes_what_was_given_before(desk: Desk) -> None:
    first = serial_of(desk.claims.claim(post(ask(desk.claims.issue("t1")))).certificate.encode())
    assert desk.revoked() == set()
    second = serial_of(desk.claims.claim(post(ask(desk.claims.issue("t1")))).certificate.encode())
    assert desk.revoked() == {first}
    desk.claims.revoke("t1")
    assert desk.revoked() == {first, second}
    desk.clock.advance(timedelta(days=91).total_seconds())
    assert desk.revoked() == set()  # over by themselves


def test_claiming_anew_and_revoking_replace_the_keys_of_the_groups_that_were_served(tmp_path, tmp_path_factory):
    hub = open_hub(tmp_path / "hub", tmp_path_factory)
    claims = Claims(hub.storage, Authority.new(SITE, hub.clock), lambda: CONTACT, hub.clock)
    hub.fleet.add("t1", "hq", ["staff"])
    lab = hub.keys.of_stream("group/lab").key_id
    keys = [hub.keys.of_stream("group/staff").key_id]
    for act in (lambda: claims.claim(post(ask(claims.issue("t1")))), lambda: claims.claim(post(ask(claims.issue(
            "t1")))), lambda: claims.revoke("t1"), lambda: claims.claim(post(ask(claims.issue("t1"))))):
        act()
        keys.append(hub.keys.of_stream("group/staff").key_id)
    assert keys[0] == keys[1]  # whoever claims for the first time knows no key yet
    assert len(set(keys[1:])) == 4
    assert hub.keys.of_stream("group/lab").key_id == lab
    assert (hub.fleet.get("t1").state, claims.shut_out()) == ("unheard", [])
    claims.revoke("t1")
    hub.fleet.add("t2", "hq", [])
    claims.claim(post(ask(claims.issue("t2"))))
    hub.fleet.remove("t2")
    assert claims.shut_out() == ["t1", "t2"]
    hub.close()


def test_what_the_former_board_of_a_terminal_owed_does_not_stay_open_for_ever(tmp_path, tmp_path_factory, caplog):
    hub = open_hub(tmp_path / "hub", tmp_path_factory)
    claims = Claims(hub.storage, Authority.new(SITE, hub.clock), lambda: CONTACT, hub.clock)
    hub.fleet.add("t1", "hq", ["staff"])
    claims.claim(post(ask(claims.issue("t1"))))
    hub.people.add(li_wei())
    hub.fleet.set_groups("t1", [])
    assert [owed.kind for owed in hub.fleet.open_deletions("t1") if owed.stream == "group/staff"] == ["group"]
    claims.claim(post(ask(claims.issue("t1"))))
    assert not [owed for owed in hub.fleet.open_deletions("t1") if owed.stream == "group/staff"]
    assert "out of reach" in caplog.text
    hub.close()


def renewal(signer: Signer, terminal_id: str = "t1", site: str = SITE) -> bytes:
    return sign_renewal(Renewal(terminal_id, request()[0].decode(), 0), site, signer)


def test_a_terminal_whose_certificate_ran_out_long_ago_renews_by_its_signature(desk: Desk) -> None:
    signer = Signer.new()
    desk.claims.claim(post(ask(desk.claims.issue("t1"), signer)))
    desk.clock.advance(timedelta(days=400).total_seconds())
    renewed = x509.load_pem_x509_certificate(desk.claims.renew(renewal(signer)).certificate.encode())
    assert renewed.subject.rfc4514_string() == "CN=t1"
    assert renewed.not_valid_after_utc > desk.clock.now() + timedelta(days=89)


def test_nobody_renews_for_another_or_unsigned_or_revoked(desk: Desk) -> None:
    one, two = Signer.new(), Signer.new()
    desk.claims.claim(post(ask(desk.claims.issue("t1"), one)))
    desk.claims.claim(post(ask(desk.claims.issue("t2"), two)))
    with pytest.raises(MessageRefused):
        desk.claims.renew(renewal(two, "t1"))
    with pytest.raises(MessageRefused):
        desk.claims.renew(renewal(one, site="other"))
    with pytest.raises(ClaimRefused, match="no terminal of ours"):
        desk.claims.renew(renewal(Signer.new()))
    with pytest.raises(MessageRefused):
        desk.claims.renew(b"\x00garbage")
    desk.claims.revoke("t1")
    with pytest.raises(ClaimRefused):
        desk.claims.renew(renewal(one))


def test_no_code_is_issued_for_a_terminal_that_is_not_in_the_fleet(desk: Desk) -> None:
    with pytest.raises(ClaimRefused, match="there is no terminal"):
        desk.claims.issue("t9")


def test_over_http_a_claim_is_served_refused_or_held_off(desk: Desk) -> None:
    app = FastAPI()
    app.include_router(router(desk.claims, desk.clock))
    signer = Signer.new()

    def send(path: str, data: bytes) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
                return await client.post(path, content=data)

        return asyncio.run(ask())

    served = send("/claim", post(ask(desk.claims.issue("t1"), signer)))
    assert served.status_code == 200
    assert served.json()["terminal_id"] == "t1"
    assert send("/renew", renewal(signer)).status_code == 200
    assert send("/claim", b"x" * 70_000).status_code == 413
    assert send("/claim", b"{}").status_code == 422
    statuses = [send("/claim", post(ask("WRONG"))).status_code for _ in range(FAILURES + 3)]
    assert statuses == [403] * (FAILURES - 1) + [429] * 4
    good = post(ask(desk.claims.issue("t2")))
    assert send("/claim", good).status_code == 429
    desk.clock.advance(61)
    assert send("/claim", good).status_code == 200


def replace_csr(claim: Claim, csr: str) -> Claim:
    return msgspec.structs.replace(claim, csr=csr)

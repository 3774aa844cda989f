"""Messages: a kept sample of each must decode for ever; nothing unsigned, altered or misplaced is read; nothing but
the topic and, of pages and heads, where they belong can be read on the way."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import wire_content as content
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import SealBroken
from device.store.orders import Desired, Head, HeadBody, Order, Sealed, head_place, unseal
from device.store.trust import (
    Envelope,
    MessageRefused,
    Opener,
    Verifier,
    bound,
    open_envelope,
    open_signed,
    signed_bytes,
)
from device.store.trust_chain import TOPIC as ANNOUNCEMENTS
from device.store.trust_chain import HubKeys, TrustChain
from sync.wire import messages as m
from sync.wire import topics
from sync.wire.announce import announce, hand_to, handed
from sync.wire.claim import open_renewal, read, sign_renewal
from sync.wire.codec import decode, decode_body, encode, encode_body, encode_to
from sync.wire.sign import Signer

SAMPLES = Path(__file__).parent / "wire_samples"
SIGNER = content.HUB
TOPIC = topics.PAGES.of("site", "t1")
NOBODY = Opener(b"n" * 32)
READABLE = {"site", "stream", "epoch", "seq", "from_seq", "to_seq", "detail", "sealed", "type"}

SEALED = [(topic, message, content.HUB, content.TO_TERMINAL)
          for topic, messages in content.TO_THE_TERMINAL.items() for message in messages]
SEALED += [(topic, message, content.TERMINAL, content.TO_HUB)
           for topic, messages in content.TO_THE_HUB.items() for message in messages]


def kept(name: str, make) -> bytes:
    path = SAMPLES / name
    if os.environ.get("DOOR_WRITE_SAMPLES"):
        path.write_bytes(make())
    return path.read_bytes()


def name_of(value) -> str:
    return type(value).__name__ if isinstance(value, msgspec.Struct) else ""


@pytest.mark.parametrize(("topic", "message", "signer", "opener"), SEALED, ids=name_of)
def test_the_kept_sample_of_a_sealed_message_is_what_it_was(topic, message, signer, opener):
    name = topic.of("site", "t1")
    sample = f"{name_of(message)}{'OfArea' if getattr(message, 'scope', '') == 'area' else ''}.msgpack"
    data = kept(sample, lambda: encode_to(opener.public, message, name, signer))
    trusted = Verifier([signer.public])
    assert decode(data, name, trusted, opener) == message
    outer = msgspec.msgpack.decode(open_signed(data, name, trusted), type=Sealed)
    assert encode(outer, name, signer) == data
    assert encode_body(message) == opener.open(outer.sealed, bound(name))


def test_the_kept_sample_of_a_page_is_what_it_was():
    data = kept("Page.msgpack", lambda: encode(content.a_page(), TOPIC, SIGNER))
    page = decode(data, TOPIC, Verifier([SIGNER.public]), NOBODY)
    assert encode(page, TOPIC, SIGNER) == data
    plain = content.GROUP.open(page.detail, m.detail_place(page))
    assert decode_body(plain, m.PageDetail) == content.DETAIL
    assert encode_body(content.DETAIL) == plain
    plain = content.GROUP.open(page.sealed, m.page_place(page, content.DETAIL))
    assert decode_body(plain, m.PageBody) == content.BODY
    assert encode_body(content.BODY) == plain
    assert len(content.BODY.templates[0].vectors) == 3 * 192


def test_the_kept_sample_of_a_head_is_what_it_was():
    topic = topics.GROUP_HEAD.of("site", "staff")
    data = kept("Head.msgpack", lambda: encode(content.a_head(), topic, SIGNER))
    head = decode(data, topic, Verifier([SIGNER.public]), NOBODY)
    assert encode(head, topic, SIGNER) == data
    plain = content.GROUP.open(head.sealed, head_place(head))
    assert decode_body(plain, HeadBody) == content.HEAD_BODY
    assert encode_body(content.HEAD_BODY) == plain


def test_the_kept_sample_of_an_announcement_is_what_it_was():
    data = kept("HubKeys.msgpack", lambda: announce(content.ANNOUNCED, SIGNER))
    plain = open_signed(data, ANNOUNCEMENTS, Verifier([SIGNER.public]))
    assert msgspec.msgpack.decode(plain, type=HubKeys) == content.ANNOUNCED
    assert announce(content.ANNOUNCED, SIGNER) == data
    chain = TrustChain([SIGNER.public], content.TO_HUB.public)
    assert chain.follow(data) and chain.verifier.key_ids == (SIGNER.key_id, content.NEXT.key_id)
    topic = topics.KEYS.of("site", "t1")
    given = kept("HubKeys.handed", lambda: hand_to(content.TO_TERMINAL.public, [data], topic))
    assert handed(given, topic, content.TO_TERMINAL) == (data,)


@pytest.mark.parametrize("message", content.OVER_HTTP, ids=name_of)
def test_the_kept_sample_of_what_is_said_over_http_is_what_it_was(message):
    data = kept(f"{name_of(message)}.json", lambda: msgspec.json.encode(message))
    assert read(data, type(message)) == message
    assert msgspec.json.encode(message) == data


def test_the_kept_sample_of_a_signed_renewal_is_what_it_was():
    renewal = next(one for one in content.OVER_HTTP if name_of(one) == "Renewal")
    data = kept("Renewal.msgpack", lambda: sign_renewal(renewal, "site", content.TERMINAL))
    assert open_renewal(data, "site", "t1", Verifier([content.TERMINAL.public])) == renewal
    assert sign_renewal(renewal, "site", content.TERMINAL) == data


def test_the_kept_sample_of_a_report_during_an_update_is_what_it_was():
    report, name = content.TO_THE_HUB[topics.REPORT][0], topics.REPORT.of("site", "t1")
    report = msgspec.structs.replace(report, health=msgspec.structs.replace(content.HEALTH, update=content.UPDATING))
    data = kept("Report.updating", lambda: encode_to(content.TO_HUB.public, report, name, content.TERMINAL))
    assert decode(data, name, Verifier([content.TERMINAL.public]), content.TO_HUB) == report


def test_every_kind_of_message_has_a_sample_and_every_sample_a_kind():
    kinds = {type(message) for _, message, _, _ in SEALED} | {m.Page, Head}
    assert kinds == set(m.AnyMessage.__args__)  # type: ignore[attr-defined]
    names = {f"{kind.__name__}.msgpack" for kind in kinds} | {f"{name_of(one)}.json" for one in content.OVER_HTTP}
    names |= {"GroupKeyOfArea.msgpack", "HubKeys.msgpack", "HubKeys.handed", "Renewal.msgpack", "Report.updating"}
    assert {path.name for path in SAMPLES.iterdir()} == names


# --- what can be read on the way -----------------------------------------------------------------------------------


def test_nothing_but_where_it_belongs_can_be_read_of_any_message():
    sent = [encode(content.a_page(), TOPIC, SIGNER), encode(content.a_head(), TOPIC, SIGNER)]
    sent += [encode_to(opener.public, message, topic.of("site", "t1"), signer)
             for topic, message, signer, opener in SEALED]
    for data in sent:
        seen = msgspec.msgpack.decode(open_envelope(data).payload)
        assert set(seen) <= READABLE
        assert seen["type"] in ("page", "head", "sealed")
        assert seen["type"] != "sealed" or set(seen) == {"type", "sealed"}
    passed = b"".join(sent)
    for canary in (b"release", b"lockdown", b"mobilefacenet", b"by hand", b"camera_lost", b"another boot", b"b" * 32,
                   b"face template", b"part of a wheel", b"1.2.0", content.H, content.GROUP.key_bytes(),
                   content.GROUP.key_id.encode()):
        assert canary not in passed, canary


# --- what a seal is bound to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"site": "other"}, {"stream": "group/lab"}, {"epoch": "e2"}, {"from_seq": 8},
                                    {"to_seq": 10}])
def test_a_page_opens_only_where_it_belongs(change):
    page = content.a_page()
    moved = msgspec.structs.replace(page, **change)
    with pytest.raises(SealBroken):
        content.GROUP.open(moved.detail, m.detail_place(moved))
    with pytest.raises(SealBroken):
        content.GROUP.open(moved.sealed, m.page_place(moved, content.DETAIL))


@pytest.mark.parametrize("change", [{"form": "snapshot"}, {"part": 2}, {"parts": 4}, {"models": ()},
                                    {"models": ("another-model",)}])
def test_a_page_opens_only_as_what_its_detail_says_and_for_its_models(change):
    page, said = content.a_page(), msgspec.structs.replace(content.DETAIL, **change)
    with pytest.raises(SealBroken):
        content.GROUP.open(page.sealed, m.page_place(page, said))


def test_a_page_of_another_version_does_not_open(monkeypatch):
    page = content.a_page()
    monkeypatch.setattr(m, "VERSION", 2)
    with pytest.raises(SealBroken):
        content.GROUP.open(page.detail, m.detail_place(page))


@pytest.mark.parametrize(("topic", "message", "signer", "opener"), SEALED, ids=name_of)
def test_a_sealed_message_opens_only_for_its_site_its_terminal_and_on_its_topic(topic, message, signer, opener):
    sealed = open_envelope(encode_to(opener.public, message, topic.of("site", "t1"), signer)).payload
    trusted = Verifier([signer.public])
    for other in (topic.of("elsewhere", "t1"), topic.of("site", "t2"), topics.KEYS.of("site", "t1")):
        moved = encode(msgspec.msgpack.decode(sealed, type=Sealed), other, signer)
        with pytest.raises(SealBroken):
            decode(moved, other, trusted, opener)


def test_a_head_opens_only_for_its_site_stream_epoch_and_number():
    head = content.a_head()
    for change in ({"site": "other"}, {"stream": "group/lab"}, {"epoch": "e2"}, {"seq": 10}):
        moved = msgspec.structs.replace(head, **change)
        with pytest.raises(SealBroken):
            content.GROUP.open(moved.sealed, head_place(moved))


def test_one_order_is_not_taken_for_another():
    topic = topics.COMMAND.of("site", "t1")
    order = content.TO_THE_TERMINAL[topics.COMMAND][0]
    payload = open_envelope(encode_to(content.TO_TERMINAL.public, order, topic, SIGNER)).payload
    assert unseal(payload, topic, content.TO_TERMINAL, Order) == order
    with pytest.raises(MessageRefused):
        unseal(payload, topic, content.TO_TERMINAL, Desired)


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(data: bytes, topic: str = TOPIC, match: str | None = None) -> None:
    with pytest.raises(MessageRefused, match=match) as caught:
        decode(data, topic, Verifier([SIGNER.public]), content.TO_TERMINAL)
    assert "\n" not in str(caught.value)


def test_a_message_of_another_topic_is_refused() -> None:
    refused(encode(content.a_page(), TOPIC, SIGNER), TOPIC.replace("t1", "t2"), "the signature does not hold")


def test_a_message_signed_by_another_key_is_refused() -> None:
    refused(encode(content.a_page(), TOPIC, Signer.new()), match="the signature does not hold")


@given(st.integers(min_value=0), st.integers(0, 7))
def test_one_flipped_bit_is_refused(index: int, bit: int) -> None:
    data = bytearray(encode(content.a_head(), TOPIC, SIGNER))
    data[index % len(data)] ^= 1 << bit
    refused(bytes(data))


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_garbage_is_refused_in_one_line(data: bytes) -> None:
    refused(data)
    with pytest.raises(MessageRefused):
        decode_body(b"\x01" + data, m.PageBody)


@given(st.binary(max_size=200))
def test_signed_garbage_is_refused_as_well(payload: bytes) -> None:
    envelope = Envelope(1, SIGNER.key_id, SIGNER.sign(signed_bytes(TOPIC, payload)), payload)
    refused(msgspec.msgpack.encode(envelope))


@given(st.binary(max_size=200))
def test_sealed_garbage_is_refused_as_well(plain: bytes) -> None:
    from sync.wire.seal import seal_to

    message = Sealed(sealed=seal_to(content.TO_TERMINAL.public, plain, bound(TOPIC)))
    refused(encode(message, TOPIC, SIGNER))


def test_an_oversize_message_and_a_newer_envelope_are_refused() -> None:
    with pytest.raises(MessageRefused, match="at most"):
        open_envelope(b"\0" * 2_000_001)
    data = msgspec.msgpack.encode({"v": 2, "signer": "k", "signature": b"s" * 64, "payload": b""})
    with pytest.raises(MessageRefused, match="envelope version 2; this side speaks 1"):
        open_envelope(data)


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    head = content.a_head()
    payload = msgspec.msgpack.encode({**msgspec.to_builtins(head, builtin_types=(bytes,)), "mood": "fine"})
    envelope = Envelope(1, SIGNER.key_id, SIGNER.sign(signed_bytes(TOPIC, payload)), payload)
    assert decode(msgspec.msgpack.encode(envelope), TOPIC, Verifier([SIGNER.public]), NOBODY) == head

"""Messages: a kept sample of each must decode for ever; nothing unsigned, altered or misplaced is read."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.store.trust import Envelope, MessageRefused, Verifier, open_envelope, signed_bytes
from sync.wire import messages as m
from sync.wire.codec import decode, decode_body, encode, encode_body
from sync.wire.sign import Signer

SAMPLES = Path(__file__).parent / "wire_samples"
SIGNER = Signer(bytes(range(32)))
TOPIC = "door/v1/site/terminal/t1/pages"
H = bytes(range(32))

MESSAGES: tuple[m.AnyMessage, ...] = (
    m.Page(site="site", stream="group/staff", epoch="e1", form="snapshot", from_seq=0, to_seq=9, digest=H,
           key_id="k1", sealed=b"sealed", part=1, parts=3),
    m.Head(site="site", stream="group/staff", epoch="e1", seq=9, digest=H, issued_ms=1_800_000_000_000),
    m.Desired(terminal_id="t1", version=4, sealed=b"sealed"),
    m.Order(terminal_id="t1", command_id="c1", boot_id="b1", issued_ms=1, expires_ms=10_001, sealed=b"sealed"),
    m.Acked(terminal_id="t1", journal_id="j1", seq=77, issued_ms=5),
    m.RangeHashes(terminal_id="t1", stream="group/staff", epoch="e1", seq=9, ranges=((3, (H,) * 64),)),
    m.GroupKey(terminal_id="t1", group="staff", key_id="k1", sealed=b"sealed"),
    m.Report(terminal_id="t1", boot_id="b1", issued_ms=5, cursors=(m.Cursor("group/staff", "e1", 9, H),),
             journal_id="j1", journal_seq=80, acked_seq=77, model_ids=("mobilefacenet-0",), desired_version=4,
             key_ids=("k1",), sealed=b"sealed"),
    m.Online(terminal_id="t1", is_online=True, session="s1"),
    m.JournalPage(terminal_id="t1", journal_id="j1", from_seq=77, to_seq=80, sealed=b"sealed"),
    m.RepairRequest(terminal_id="t1", stream="group/staff", epoch="e1", seq=9, ranges=(H,) * 64),
    m.Receipt(terminal_id="t1", stream="group/staff", epoch="e1", seq=9, digest=H, issued_ms=5, sealed=b"sealed"),
    m.Answer(terminal_id="t1", command_id="c1", issued_ms=5, sealed=b"sealed"),
)
BODIES: tuple[m.AnyBody, ...] = (
    m.PageBody(drops=(m.Change(8, "drop", "person", "p1"),), puts=(m.Change(9, "put", "person", "p2", b"body"),),
               templates=(m.TemplateColumns("mobilefacenet-0", 192, 0, b"", b"", b"", b"", b"", b"", b""),)),
    m.DesiredBody(mode="lockdown", mode_until_ms=1_800_000_000_000, config_version=3),
    m.OrderBody(verb="release", seconds=5.0),
    m.HealthBody(versions={"doord": "1"}, clock_quality="synced", clock_offset_s=0.01, degraded=("camera_lost",),
                 counts={"dropped": 1}),
    m.JournalBody((m.JournalRow(1, 5, 0.5, "b1", "synced", "release", "face_granted", "p1", (("score", 0.7),), "",
                                "h"),)),
    m.ReceiptBody((("person", "p1", 8),)),
    m.AnswerBody("refused", "another boot"),
)


def verifier() -> Verifier:
    trusted = Verifier()
    trusted.trust(SIGNER.public)
    return trusted


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_the_kept_sample_of_a_message_still_decodes(message: m.AnyMessage) -> None:
    path = SAMPLES / f"{type(message).__name__}.msgpack"
    if os.environ.get("DOOR_WRITE_SAMPLES"):
        path.write_bytes(encode(message, TOPIC, SIGNER))
    assert decode(path.read_bytes(), TOPIC, verifier()) == message


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_the_kept_sample_of_a_body_still_decodes(body: m.AnyBody) -> None:
    path = SAMPLES / f"{type(body).__name__}.msgpack"
    if os.environ.get("DOOR_WRITE_SAMPLES"):
        path.write_bytes(encode_body(body))
    assert decode_body(path.read_bytes(), type(body)) == body


def test_every_kind_of_message_has_a_sample() -> None:
    assert {type(message) for message in MESSAGES} == set(m.AnyMessage.__args__)  # type: ignore[attr-defined]
    assert {type(body) for body in BODIES} == set(m.AnyBody.__args__)  # type: ignore[attr-defined]


def test_a_message_of_another_topic_is_refused() -> None:
    data = encode(MESSAGES[0], TOPIC, SIGNER)
    with pytest.raises(MessageRefused, match="the signature does not hold"):
        decode(data, TOPIC.replace("t1", "t2"), verifier())


def test_a_message_signed_by_another_key_is_refused() -> None:
    with pytest.raises(MessageRefused, match="the signature does not hold"):
        decode(encode(MESSAGES[0], TOPIC, Signer.new()), TOPIC, verifier())


@given(st.integers(min_value=0), st.integers(0, 7))
def test_one_flipped_bit_is_refused(index: int, bit: int) -> None:
    data = bytearray(encode(MESSAGES[0], TOPIC, SIGNER))
    data[index % len(data)] ^= 1 << bit
    with pytest.raises(MessageRefused):
        decode(bytes(data), TOPIC, verifier())


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_garbage_is_refused_in_one_line(data: bytes) -> None:
    for attempt in (lambda: decode(data, TOPIC, verifier()), lambda: decode_body(b"\x01" + data, m.PageBody)):
        with pytest.raises(MessageRefused) as caught:
            attempt()
        assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_signed_garbage_is_refused_as_well(payload: bytes) -> None:
    envelope = Envelope(1, SIGNER.key_id, SIGNER.sign(signed_bytes(TOPIC, payload)), payload)
    with pytest.raises(MessageRefused):
        decode(msgspec.msgpack.encode(envelope), TOPIC, verifier())


def test_an_oversize_message_and_a_newer_envelope_are_refused() -> None:
    with pytest.raises(MessageRefused, match="at most"):
        open_envelope(b"\0" * 2_000_001)
    data = msgspec.msgpack.encode({"v": 2, "signer": "k", "signature": b"s" * 64, "payload": b""})
    with pytest.raises(MessageRefused, match="envelope version 2; this side speaks 1"):
        open_envelope(data)


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    online = m.Online(terminal_id="t1", is_online=True, session="s1")
    payload = msgspec.msgpack.encode({**msgspec.to_builtins(online), "mood": "fine"})
    envelope = Envelope(1, SIGNER.key_id, SIGNER.sign(signed_bytes(TOPIC, payload)), payload)
    assert decode(msgspec.msgpack.encode(envelope), TOPIC, verifier()) == online

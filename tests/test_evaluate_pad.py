"""doorctl evaluate pad: metrics counted by hand, lists, stills and clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from rehearsal_samples import stage

from device.cli import main
from device.errors import ModelMismatch, UsageError
from device.evaluate import report
from device.evaluate.inputs import Presentation, Remarks, read_presentations
from device.evaluate.pad import auc, detect_attacks, figures_of
from device.evaluate.pad_plot import det_curve, plot_detection
from device.evaluate.presentations import Answer, Watcher
from device.face.card import Card
from device.rehearsal.people import STRANGERS
from device.rehearsal.scenes import SCENES, Scene, performs
from device.rehearsal.stage import View
from device.sighting import Level


def presented(species: str, is_bona_fide: bool | None, score: float | None, subject: str = "",
              name: str = "a.png") -> tuple[Presentation, Answer]:
    return Presentation(name, species, subject), Answer(is_bona_fide is True, is_bona_fide is False, score, True,
                                                        "" if score else "no_face")


def test_rates_are_of_what_was_answered_and_the_worst_species_is_the_headline(pack: Card) -> None:
    result = figures_of([
        *[presented("", True, 0.9)] * 7, presented("", False, 0.2), *[presented("", None, None)] * 2,
        *[presented("print", False, 0.1)] * 10,
        *[presented("screen", False, 0.1)] * 3, presented("screen", True, 0.8), presented("screen", None, None),
    ])
    assert result.bona_fide.share == pytest.approx(1 / 8)
    assert result.bona_fide.non_response == pytest.approx(2 / 10)
    assert {name: rate.share for name, rate in result.species.items()} == {"print": 0.0, "screen": 0.25}
    figures = report.of_attacks(result, "normal", pack, Remarks())
    assert list(figures)[:7] == ["level", "bpcer", "apcer", "apcer_worst", "auc", "abstained", "images"]
    assert (figures["apcer_worst"], figures["worst_species"]) == (0.25, "screen")
    assert (figures["abstained"], figures["images"]) == (3, 25)
    assert figures["bpnrr"] == pytest.approx(0.2)
    assert figures["abstained_because"] == {"no_face": 3}
    assert figures["bpcer_95"][0] < 1 / 8 < figures["bpcer_95"][1]
    assert figures["apcer_95"]["print"][0] == 0.0 < figures["apcer_95"]["print"][1]


def test_a_clip_that_was_both_accepted_and_convicted_is_an_error_whatever_it_shows() -> None:
    torn = Answer(is_accepted=True, is_convicted=True, score=0.5, is_passive=False)
    result = figures_of([(Presentation("a.mp4", species, ""), torn) for species in ("", "print")])
    assert (result.bona_fide.share, result.species["print"].share) == (1.0, 1.0)


def test_what_was_never_presented_or_never_answered_has_no_rate(pack: Card) -> None:
    result = figures_of([presented("print", None, None)])
    figures = report.of_attacks(result, "low", pack, Remarks())
    assert (figures["bpcer"], figures["apcer"], figures["apcer_worst"], figures["auc"]) == (
        None, {"print": None}, None, None)
    assert report.lines(figures)


def test_the_curve_goes_from_no_attack_accepted_to_no_live_face_refused() -> None:
    apcer, bpcer = det_curve([0.4, 0.8, 0.9, 0.9], [0.1, 0.5])
    assert list(zip(apcer.tolist(), bpcer.tolist(), strict=True)) == [
        (0.25, 1.0), (0.25, 0.5), (0.25, 0.25), (0.5, 0.25), (0.5, 0.125), (1.0, 0.125)]


def test_perfect_separation_is_drawn_as_a_corner_at_half_an_error(tmp_path: Path) -> None:
    apcer, bpcer = det_curve([0.8, 0.9], [0.1, 0.2])
    assert apcer.tolist()[2:4] == [0.25, 0.5]
    assert min(bpcer.tolist()) == 0.25
    result = figures_of([presented("", True, 0.9), presented("print", False, 0.1), presented("screen", None, None)])
    plot_detection(result, 0.4, "two", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="cannot be written"):
        plot_detection(result, None, "two", tmp_path / "none" / "a.png")


def test_auc_counts_ties_half() -> None:
    assert auc([0.9, 0.8], [0.1, 0.2]) == 1.0
    assert auc([0.5], [0.5]) == 0.5
    assert auc([0.2, 0.6], [0.4]) == 0.5
    assert auc([], [0.4]) is None


def test_people_who_appear_often_widen_the_interval() -> None:
    apart = figures_of([presented("", n % 10 != 0, 0.9, f"{n}", f"{n}.png") for n in range(100)])
    together = figures_of([presented("", n >= 10, 0.9, f"{n // 10}", f"{n}.png") for n in range(100)])
    assert apart.bona_fide.share == together.bona_fide.share == 0.1
    assert apart.bona_fide.span is not None
    assert together.bona_fide.span is not None
    assert together.bona_fide.span[1] > 1.5 * apart.bona_fide.span[1]


def test_a_list_names_pictures_clips_and_folders(tmp_path: Path) -> None:
    for name in ("a.png", "b.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "c").mkdir()
    path = tmp_path / "labels.csv"
    path.write_text("image,label,subject\na.png,live,1\nb.mp4,screen,\nc,Bona fide,2\na.png,print,\n../a.png,live,\n"
                    "d.png,live,\nb.mp4,,\n")
    remarks = Remarks()
    rows = read_presentations(path, tmp_path, remarks)
    assert [(row.name, row.species, row.is_still) for row in rows] == [
        ("a.png", "", True), ("b.mp4", "screen", False), ("c", "", False)]
    assert len(remarks.lines) == 4
    assert remarks.missing == {"d.png"}
    path.write_text("image,kind\na.png,live\n")
    with pytest.raises(UsageError, match="no column label"):
        read_presentations(path, tmp_path, remarks)


def test_a_pack_without_networks_cannot_be_measured(pack: Card, tmp_path: Path) -> None:
    bare = replace(pack, passive=None)
    with pytest.raises(ModelMismatch, match="no passive liveness networks"):
        detect_attacks([Presentation("a.png", "", "")], tmp_path, bare, Level.LOW, Remarks())


def film(folder: Path, scene: Scene, begin_s: float, count: int) -> None:
    """A folder of pictures as a clip."""
    folder.mkdir()
    for number in range(count):
        picture = stage().render(scene.at(begin_s + number / 15), number)
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)


def test_stills_and_clips_are_judged_and_where_the_plane_test_abstains_it_is_said(
        liveness_pack: Card, tmp_path: Path, portrait: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOOR_CACHE", str(tmp_path / "cache"))
    shutil.copytree(liveness_pack.folder, tmp_path / "cache" / "packs" / "mobilefacenet")
    film(tmp_path / "head", SCENES["enrolled_walks_up"], 2.6, 40)
    film(tmp_path / "print", SCENES["print_waved"], 0.9, 25)
    film(tmp_path / "nobody", SCENES["empty"], 0.0, 3)
    cv2.imwrite(str(tmp_path / "live.png"), portrait)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "labels.csv").write_text("image,label\nhead,live\nprint,print\nnobody,live\nlive.png,live\n"
                                         "broken.mp4,screen\n")
    words = ["evaluate", "pad", "--labels", str(tmp_path / "labels.csv"), "--images", str(tmp_path), "--json"]
    assert main(words) == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert (figures["bpcer"], figures["apcer"], figures["level"]) == (0.0, {"print": 0.0}, "normal")
    assert (figures["images"], figures["stills"], figures["clips"], figures["abstained"]) == (4, 1, 3, 1)
    assert figures["abstained_because"] == {"no_usable_face": 1}
    assert figures["passive_alone"] >= 1
    assert "passive verdict stands alone" in figures["note"]
    assert figures["missing"] == 1
    assert "broken.mp4" in said.err


def test_whoever_passes_behind_what_is_presented_is_not_the_presentation(liveness_pack: Card, tmp_path: Path) -> None:
    """A live bystander, smaller than the print, is accepted by the door's judges and not counted as the print."""
    behind = performs("turn_left", STRANGERS[1])

    def at(t: float) -> View:
        person = behind.at(t).people[0]
        aside = replace(person, pose=replace(person.pose, x=0.35, z=1.15))
        return replace(SCENES["print_waved"].at(t + 0.9), people=(aside,))

    folder = tmp_path / "print"
    folder.mkdir()
    for number in range(24):
        cv2.imwrite(str(folder / f"{number:03}.png"), stage(1280, 720).render(at(number / 15), number))
    answer = Watcher(liveness_pack, Level.NORMAL).answer(folder, is_still=False)
    assert (answer.is_accepted, answer.is_convicted) == (False, True)
    assert answer.reason


@pytest.mark.data
def test_of_the_few_stills_every_attack_is_refused_and_every_live_face_accepted(liveness_pack: Card,
                                                                                data_dir: Path) -> None:
    """Nine pictures: a smoke test and no rate."""
    rows = read_presentations(data_dir / "stills" / "labels.csv", data_dir / "stills", Remarks())
    result = detect_attacks(rows, data_dir / "stills", liveness_pack, Level.NORMAL, Remarks())
    assert (result.bona_fide.answered, result.bona_fide.wrong) == (4, 0)
    assert [(rate.answered, rate.wrong) for rate in result.species.values()] == [(5, 0)]
    assert result.auc == 1.0

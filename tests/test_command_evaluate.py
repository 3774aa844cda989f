"""`doorctl evaluate` from its arguments to its JSON, on a handful of real pictures."""

import argparse
import json
from pathlib import Path

import cv2
import pytest

from device.commands import evaluate
from device.errors import ModelMismatch, PictureRefused, UsageError
from device.face.card import read_card

FAR_KEYS = ["1e-2", "1e-3", "1e-4", "1e-5"]


def run(*words):
    parser = argparse.ArgumentParser(prog="doorctl")
    evaluate.add_parser(parser.add_subparsers())
    options = parser.parse_args(["evaluate", *map(str, words)])
    return options.run(options)


@pytest.fixture(scope="module")
def lfw(data_dir) -> Path:
    return data_dir / "lfw"


@pytest.fixture(scope="module")
def people(lfw) -> list[list[str]]:
    """Two pictures of each of five people."""
    folders = sorted(folder for folder in lfw.iterdir() if folder.is_dir() and len(list(folder.iterdir())) >= 2)
    return [[f"{folder.name}/{file.name}" for file in sorted(folder.iterdir())[:2]] for folder in folders[:5]]


def listed(tmp_path, name, lines):
    path = tmp_path / name
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    return path


@pytest.mark.data
def test_verify_prints_exactly_the_promised_keys(pack, lfw, people, tmp_path, capsys):
    lines = ["fold,same,a,b", *(f"{n % 2},1,{a},{b}" for n, (a, b) in enumerate(people)),
             *(f"{n % 2},0,{people[n][0]},{people[(n + 1) % 5][1]}" for n in range(5)),
             f"1,1,{people[0][0]},Nobody/Nobody_0001.jpg"]
    plot = tmp_path / "curve.png"
    pairs = listed(tmp_path, "pairs.csv", lines)
    assert run("verify", "--pairs", pairs, "--images", lfw, "--json", "--plot", plot) == 0
    told = capsys.readouterr()
    figures = json.loads(told.out)
    assert list(figures)[:8] == ["pairs", "genuine", "impostor", "fta", "accuracy", "eer", "tar_at_far", "model_id"]
    assert (figures["pairs"], figures["genuine"], figures["impostor"], figures["fta"]) == (10, 5, 5, 0.0)
    assert figures["accuracy"] > 0.8  # five pairs of the other fold place the threshold anyhow
    assert figures["eer"] is None  # and nothing of a rate of 0
    assert figures["eer_95"] is not None
    assert list(figures["tar_at_far"]) == FAR_KEYS
    assert set(figures["tar_at_far"].values()) == {None}  # five impostor comparisons say nothing of 1 %
    assert figures["model_id"] == pack.model_id
    assert 0.0 <= figures["accuracy_95"][0] < 1.0
    assert figures["fta_95"][0] == 0.0 < figures["fta_95"][1]
    assert set(figures["tar_at_far_of_acquired_95"]) == set(FAR_KEYS)
    assert figures["missing"] == 1
    assert told.err.count("Nobody/Nobody_0001.jpg") == 1
    assert cv2.imread(str(plot)).shape[0] > 100


@pytest.mark.data
def test_all_pairs_of_a_list_with_a_condition(lfw, people, tmp_path, capsys):
    lines = ["image,label,subject", *(f"{name},live,{n}" for n, names in enumerate(people) for name in names),
             f"{people[0][0]},print,9"]
    path = listed(tmp_path, "labels.csv", lines)
    assert run("verify", "--all-pairs", path, "--where", "label=live", "--person-column", "subject", "--images", lfw,
               "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["genuine"], figures["impostor"], figures["people"], figures["images"]) == (5, 40, 5, 10)
    assert figures["accuracy"] is None
    assert figures["tar_at_far"]["1e-2"] is None
    assert [row["gallery"] for row in figures["defaults"]] == [1, 20, 200, 1000]
    for row in figures["defaults"]:
        assert row["fmr"] is None and row["fpir"] is None  # of 40 comparisons
        assert row["fpir_95"][1] >= row["fmr_95"][1] > 0.0
        assert row["tar_95"][0] <= row["tar"] <= row["tar_95"][1]


@pytest.mark.data
def test_all_pairs_of_folders_leave_out_what_cannot_be_read(lfw, people, tmp_path, capsys):
    for number, names in enumerate(people[:3]):
        (tmp_path / str(number)).mkdir()
        for name in names:
            (tmp_path / str(number) / Path(name).name).write_bytes((lfw / name).read_bytes())
    (tmp_path / "0" / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    (tmp_path / "1" / "grey.png").write_bytes(cv2.imencode(".png", cv2.imread(str(lfw / people[1][0]), 0))[1])
    (tmp_path / "2" / "wall.png").write_bytes(cv2.imencode(".png", cv2.imread(str(lfw / people[2][0]))[:40])[1])
    assert run("verify", "--all-pairs", "--images", tmp_path) == 0
    told = capsys.readouterr()
    assert "0/broken.jpg" in told.err
    figures = dict(line.split(maxsplit=1) for line in told.out.splitlines() if len(line.split()) == 2)
    assert (figures["images"], figures["missing"], figures["not_acquired"]) == ("8", "1", "1")
    assert ["fta", "0.125", "(95", "%:"] in [line.split()[:4] for line in told.out.splitlines()]


@pytest.mark.data
def test_identify_prints_exactly_the_promised_keys(lfw, people, tmp_path, capsys):
    gallery = listed(tmp_path, "gallery.csv", ["person,image", *(f"{n},{people[n][0]}" for n in range(3))])
    probes = listed(tmp_path, "probes.csv", ["person,image", *(f"{n},{people[n][1]}" for n in range(3)),
                                             *(f",{people[n][1]}" for n in (3, 4)), f"0,{people[0][0]}"])
    assert run("identify", "--gallery", gallery, "--probes", probes, "--images", lfw, "--far", "1e-4", "--json") == 0
    told = capsys.readouterr()
    figures = json.loads(told.out)
    assert list(figures)[:7] == ["gallery", "probes", "fta", "rank1", "fnir", "fpir", "threshold"]
    assert (figures["gallery"], figures["probes"]) == (3, 5)
    assert (figures["rank1"], figures["fnir"], figures["fpir"]) == (1.0, 0.0, None)  # two strangers state nothing
    assert figures["fpir_95"][0] == 0.0
    assert 0.5 < figures["threshold"] < 0.7
    assert "pictures of the gallery" in told.err
    assert "population nuaa states no FMR below 0.00011" in told.err
    # Without --far it is the terminal's own threshold, for a gallery of three.
    assert run("identify", "--gallery", gallery, "--probes", probes, "--images", lfw, "--json") == 0
    assert json.loads(capsys.readouterr().out)["threshold"] < 0.7


@pytest.mark.data
def test_detect_prints_exactly_the_promised_keys(data_dir, tmp_path, capsys):
    for name in sorted(file.name for file in (data_dir / "no_face" / "easy").iterdir())[:3]:
        (tmp_path / name).write_bytes((data_dir / "no_face" / "easy" / name).read_bytes())
    boxes = [line for line in (data_dir / "detection" / "boxes.csv").read_text().splitlines()
             if line.startswith(("image,", "group_13", "group_2"))]
    assert run("detect", "--boxes", listed(tmp_path, "boxes.csv", boxes), "--images", data_dir / "detection",
               "--no-face", tmp_path, "--json", "--plot", tmp_path / "finds.png") == 0
    assert cv2.imread(str(tmp_path / "finds.png")).shape[0] > 100
    figures = json.loads(capsys.readouterr().out)
    assert list(figures)[:3] == ["recall", "false_per_image", "images"]
    assert figures["recall"] == 1.0
    assert figures["images"] == 2
    assert figures["images_without_face"] == 3
    assert figures["extra_per_image_95"] is not None
    assert figures["false_by_folder"]["."]["per_image_95"][1] > 0.0


@pytest.mark.data
def test_calibrate_writes_points_that_the_terminal_then_uses(own_cache, lfw, capsys, tmp_path):
    folders = sorted(folder for folder in lfw.iterdir() if folder.is_dir() and len(list(folder.iterdir())) >= 2)[:18]
    lines = ["image,person", *(f"{folder.name}/{file.name},{folder.name}" for folder in folders
                               for file in sorted(folder.iterdir())[:2])]
    path = listed(tmp_path, "staff.csv", lines)
    assert run("calibrate", "--images", lfw, "--all-pairs", path, "--population", "staff", "--data", "two of each",
               "--json", "--plot", tmp_path / "curve.png") == 0
    assert cv2.imread(str(tmp_path / "curve.png")).shape[0] > 100
    figures = json.loads(capsys.readouterr().out)
    assert (figures["genuine"], figures["impostor"]) == (18, 36 * 35 // 2 - 18)
    card = read_card(own_cache / "packs" / "mobilefacenet")
    staff = card.populations[-1]
    assert staff.name == "staff"
    assert staff.command == ("doorctl evaluate calibrate --images lfw/ --all-pairs staff.csv --data 'two of each' "
                             "--population staff")
    assert [(point["fmr"], point["score"], tuple(point["tmr_95"])) for point in figures["points"]] == [
        (point.fmr, point.score, point.tmr_95) for point in staff.points]


def test_the_recorded_command_names_a_list_among_the_pictures_so_that_it_runs_from_above_them(tmp_path):
    options = argparse.Namespace(images=tmp_path / "nuaa", all_pairs=tmp_path / "nuaa" / "labels.csv",
                                 person_column="subject", where=["label=live", "mood=very good"], gates="door",
                                 no_mirror=True, least_fmr=1e-5, pack="dlib", data=None, population="nuaa")
    assert evaluate._command(options) == (
        "doorctl evaluate calibrate --images nuaa/ --all-pairs nuaa/labels.csv --person-column subject "
        "--where label=live --where 'mood=very good' --gates door --no-mirror --least-fmr 1e-05 --pack dlib "
        "--population nuaa")


@pytest.mark.data
def test_a_gallery_picture_that_is_gone_leaves_its_person_unenrolled(pack, lfw, people, tmp_path, capsys):
    gallery = listed(tmp_path, "gallery.csv", ["person,image", f"0,{people[0][0]}", "1,gone/1.jpg"])
    probes = listed(tmp_path, "probes.csv", ["person,image", f"0,{people[0][1]}", f"1,{people[1][1]}"])
    assert run("identify", "--gallery", gallery, "--probes", probes, "--images", lfw, "--far", "1", "--json") == 0
    told = capsys.readouterr()
    figures = json.loads(told.out)
    assert (figures["gallery"], figures["not_enrolled"], figures["mated_probes"], figures["fnir"]) == (1, 1, 2, 0.5)
    assert "the first is 1" in told.err
    assert "the card was measured up to an FMR of" in told.err


def test_what_was_left_out_is_told_even_where_the_run_then_fails(pack, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 and no more")
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.jpg").write_bytes(b"nothing")
    with pytest.raises(PictureRefused, match="not one of the pictures"):
        run("verify", "--all-pairs", "--images", tmp_path)
    told = capsys.readouterr().err
    assert "a.jpg: lies in no person's folder" in told
    assert "ann/1.jpg: " in told
    path = listed(tmp_path, "list.csv", ["image,person", "ann/9.jpg,ann"])
    with pytest.raises(UsageError, match="not one usable"):
        run("verify", "--all-pairs", path, "--images", tmp_path)
    assert "ann/9.jpg: no such picture" in capsys.readouterr().err


@pytest.mark.data
def test_one_usable_picture_is_one_line(pack, lfw, people, tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.jpg").write_bytes((lfw / people[0][0]).read_bytes())
    (tmp_path / "ann" / "2.jpg").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="one picture alone"):
        run("verify", "--all-pairs", "--images", tmp_path)


@pytest.mark.data
def test_a_plot_that_fails_at_last_still_leaves_the_figures(pack, lfw, people, tmp_path, capsys, monkeypatch):
    for name in people[0]:
        (tmp_path / "0").mkdir(exist_ok=True)
        (tmp_path / "0" / Path(name).name).write_bytes((lfw / name).read_bytes())

    def full_disk(*ignored):
        raise UsageError("--plot: cannot be written (No space left on device)")

    monkeypatch.setattr(evaluate, "plot", full_disk)
    with pytest.raises(UsageError, match="No space left"):
        run("verify", "--all-pairs", "--images", tmp_path, "--plot", tmp_path / "a.png", "--json")
    assert json.loads(capsys.readouterr().out)["genuine"] == 1


def test_what_cannot_be_written_is_told_before_anything_is_looked_at(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "acquire", lambda *ignored, **ignored_too: pytest.fail("looked at pictures"))
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "1.jpg").write_bytes(b"nothing")
    (tmp_path / "folder.png").mkdir()
    base = ["--images", tmp_path]
    for words, word in ((["verify", "--all-pairs", *base, "--plot", tmp_path / "folder.png"], "cannot be written"),
                        (["calibrate", *base, "--population", " "], "name the set"),
                        (["calibrate", *base, "--population", "x", "--card", "none.toml"], "no such card")):
        with pytest.raises(UsageError, match=word):
            run(*words)


@pytest.mark.parametrize(("words", "word"), [
    (["verify", "--images", "."], "--pairs"),
    (["verify", "--images", ".", "--pairs", "a.csv", "--all-pairs"], "either"),
    (["verify", "--images", ".", "--pairs", "a.csv", "--where", "a=b"], "--all-pairs"),
    (["verify", "--images", "nowhere", "--all-pairs"], "no such folder"),
    (["verify", "--images", ".", "--all-pairs", "--where", "a=b"], "need a list"),
    (["verify", "--images", ".", "--pairs", "none.csv"], "cannot be read"),
    (["verify", "--images", ".", "--pairs", "a.csv", "--plot", "a.pdf"], r"\.png"),
    (["verify", "--images", ".", "--pairs", "a.csv", "--plot", "none/a.png"], "no folder"),
    (["calibrate", "--images", ".", "--population", "x"], "no picture found"),
    (["detect", "--images", ".", "--boxes", "none.csv"], "cannot be read"),
    (["identify", "--images", ".", "--gallery", "none.csv", "--probes", "none.csv"], "cannot be read"),
])
def test_wrong_usage_is_one_line_and_exit_code_2(pack, tmp_path, monkeypatch, words, word):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=word) as caught:
        run(*words)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", ["0", "-1", "2", "nan", "much"])
def test_a_far_that_is_no_rate_is_refused(rate, capsys):
    with pytest.raises(SystemExit) as caught:
        run("identify", "--images", ".", "--gallery", "g", "--probes", "p", "--far", rate)
    assert caught.value.code == 2
    assert "is no rate" in capsys.readouterr().err


def test_an_unknown_pack_is_named_and_nobody_is_sent_to_build_it(pack, tmp_path):
    with pytest.raises(ModelMismatch, match="no pack nosuch .*there are .*mobilefacenet") as caught:
        run("verify", "--all-pairs", "--images", tmp_path, "--pack", "nosuch")
    assert "models build" not in str(caught.value)


def test_a_pack_that_could_be_built_is_told_how(own_cache, tmp_path):
    with pytest.raises(ModelMismatch, match=r"models build --pack dlib"):
        run("verify", "--all-pairs", "--images", tmp_path, "--pack", "dlib")

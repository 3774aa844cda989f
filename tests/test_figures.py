"""The figures that cards and READMEs quote: their commands can be typed, and the quick ones give the same again."""

import argparse
import json
import re
import shlex

import pytest
from documentation import FIGURES

from device.cli import build_parser
from device.commands import evaluate
from device.packs.build import build

QUOTED = [row for name in ("bench.json", "evaluate.json", "liveness.json")
          for row in json.loads((FIGURES / name).read_text(encoding="utf-8"))["rows"]]


@pytest.mark.parametrize("command", sorted({row["command"] for row in QUOTED}))
def test_every_command_behind_a_figure_can_be_typed(command):
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S+", word)]
    assert words[0] == "doorctl"
    build_parser().parse_args(words[1:])


def test_the_commands_behind_the_operating_points_name_lists_as_seen_from_above_the_pictures(pack):
    for population in pack.populations:
        arguments = build_parser().parse_args(shlex.split(population.command)[1:])
        if arguments.all_pairs is not None:
            assert arguments.all_pairs.parts[0] == arguments.images.name


def figures_of(command, data_dir, monkeypatch, capsys):
    """What the command prints as JSON, run from the folder above the pictures."""
    parser = argparse.ArgumentParser(prog="doorctl")
    evaluate.add_parser(parser.add_subparsers())
    monkeypatch.chdir(data_dir)
    arguments = parser.parse_args([*shlex.split(command)[1:], "--json"])
    assert arguments.run(arguments) == 0
    return json.loads(capsys.readouterr().out)


def quoted(what):
    (row,) = (row for row in QUOTED if row["what"].startswith(what))
    return row


@pytest.mark.data
def test_photos_give_the_recall_and_the_false_faces_that_the_readme_quotes(pack, data_dir, monkeypatch, capsys):
    row = quoted("10 photos")
    found = figures_of(row["command"], data_dir, monkeypatch, capsys)
    low, high = found["recall_95"]
    assert row["measured"] == f"{found['recall']:.3f} [{low:.3f}, {high:.3f}]"
    counts = {name: (folder["false"], folder["images"]) for name, folder in found["false_by_folder"].items()}
    assert counts == {"easy": (0, 134), "hard": (0, 48), "primates": (0, 6)}
    assert quoted("134 easy photos")["measured"] == "0"
    assert quoted("48 hard ones")["measured"] == "0; 0"


@pytest.mark.slow
@pytest.mark.data
def test_nuaa_gives_the_points_on_the_card_and_the_figures_in_the_readme(own_cache, data_dir, monkeypatch, capsys,
                                                                         tmp_path):
    shipped = {population.name: population for population in build().populations}["nuaa"]
    card = tmp_path / "card.toml"
    card.write_bytes((own_cache / "packs" / "mobilefacenet" / "card.toml").read_bytes())
    found = figures_of(f"{shipped.command} --card {card}", data_dir, monkeypatch, capsys)
    assert [point["fmr"] for point in found["points"]] == [point.fmr for point in shipped.points]
    assert [point["score"] for point in found["points"]] == pytest.approx(
        [point.score for point in shipped.points], abs=2e-3)  # networks differ a little from processor to processor
    row = quoted("NUAA, live faces, 8 people: EER")
    assert figures_of(row["command"], data_dir, monkeypatch, capsys)["eer"] == pytest.approx(
        float(row["measured"].split()[0]), abs=3e-4)

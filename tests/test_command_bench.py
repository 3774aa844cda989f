"""`doorctl bench`: that each figure is there and is what it says; how fast this machine is tests nothing."""

import argparse
import json

import numpy as np
import pytest

from device.clock import HandClock, SystemClock
from device.commands import bench as command
from device.evaluate import bench_match
from device.evaluate.bench import SECTIONS, Effort, bench, table
from device.evaluate.bench_match import is_identical, measure, random_gallery, random_probes
from device.evaluate.bench_start import bench_start
from device.evaluate.timing import in_turns

LITTLE = Effort(frames=12, rounds=2, seconds=0.5, sizes=(500,), templates=50)


def test_tasks_take_turns_and_the_median_is_told():
    clock, done = HandClock(), []

    def task(name, seconds):
        def run():
            done.append(name)
            clock.advance(seconds)
        return run

    found = in_turns({"a": task("a", 1.0), "b": task("b", 3.0)}, 4, clock, before=lambda: clock.advance(100.0))
    assert found == {"a": pytest.approx(1.0), "b": pytest.approx(3.0)}
    assert sorted(done[:2]) == ["a", "b"]  # once each beforehand, to warm up
    assert all(set(done[n:n + 2]) == {"a", "b"} for n in range(2, 10, 2))


def test_search_figures_say_whether_the_answer_was_right():
    figures = measure(500, 64, 3, SystemClock())
    assert figures["search_500_identical_to_brute_force"] == "40 of 40"
    assert figures["search_500_ratio_to_read"] == pytest.approx(
        figures["search_500_ms"] / figures["search_500_read_ms"], rel=0.01)
    gallery, matrix = random_gallery(300, 64)
    other, _ = random_gallery(299, 64)
    probes = random_probes(matrix, 10)
    assert all(is_identical(gallery, matrix, probe) for probe in probes)
    assert not any(is_identical(other, matrix[:299], probe) for probe in probes[1::2])


def test_planted_probes_resemble_somebody_and_strangers_nobody():
    _, matrix = random_gallery(1000, 192)
    best = [float((matrix @ probe).max()) for probe in random_probes(matrix, 20)]
    assert min(best[1::2]) > 0.5
    assert max(best[::2]) < 0.4


def test_what_memory_does_not_allow_is_not_measured(monkeypatch):
    monkeypatch.setattr(bench_match, "memory_free", lambda: 1000)
    figures = measure(500, 64, 3, SystemClock())
    assert set(figures.values()) == {None}
    figures |= {"search_dimensions": 64, "search_kernel": "numpy"}
    assert "not enough memory" in table(figures)[1]


def test_one_object_with_a_key_per_figure_and_a_table_of_it(pack):
    figures = bench(pack, LITTLE, ("pipeline", "match", "decision", "idle"))
    for key in ("pipeline_ms", "pipeline_networks_ms", "pipeline_ratio", "search_500_ms", "decision_age_max_ms",
                "decision_frames_dropped", "idle_core_share"):
        assert isinstance(figures[key], int | float), key
    assert set(figures["network_ms"]) >= {"detector_short", "detector_full", "mesh", "recogniser"}
    assert figures["pipeline_ratio"] > 1.0
    assert {"extract", "match"} <= set(figures["stage_ms"])
    assert figures["search_500_identical_to_brute_force"] == "40 of 40"
    text = "\n".join(table(json.loads(json.dumps(figures))))
    for words in ("network mesh", "pipeline, one face", "1:500 exact", "age of a frame", "empty scene"):
        assert words in text


def test_the_networks_alone_are_run_as_often_as_the_pipeline_runs_them(pack):
    from device.evaluate.clips import noted_models

    noted = noted_models(pack)
    runs = noted.note()
    values = np.zeros(noted.networks["detector_short"].input_shape, np.float32)
    noted.models.finder.short.find(np.zeros((100, 100, 3), np.uint8))
    assert [network for network, _ in runs] == [noted.networks["detector_short"]]
    noted.networks["detector_short"].bare(values)
    noted.stop()
    noted.networks["detector_short"].run(values)
    assert len(runs) == 1


@pytest.mark.slow
def test_start_and_memory_of_the_real_doord(pack):
    figures = bench_start(pack, 50)
    assert figures["start_templates"] == 50
    assert 0.0 < figures["start_in_doord_s"] <= figures["start_s"]
    assert figures["memory_mb"] > 30
    assert len(table(figures)) == 3


def test_parts_can_be_chosen(pack, capsys, monkeypatch):
    monkeypatch.setattr(command, "QUICK", LITTLE)
    parser = argparse.ArgumentParser(prog="doorctl")
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["bench", "--quick", "--only", "match", "--json"])
    assert options.run(options) == 0
    figures = json.loads(capsys.readouterr().out)
    assert "search_500_ms" in figures
    assert "pipeline_ms" not in figures
    assert set(SECTIONS) == {"pipeline", "match", "decision", "idle", "start"}

"""`doorctl bench`: that each figure is there and is what it says; how fast this machine is tests nothing."""

import argparse
import json
import os

import cv2
import numpy as np
import pytest

from device.camera.fit import Fit
from device.camera.pump import Pump
from device.camera.watch import CameraWatch
from device.clock import HandClock, SystemClock
from device.commands import bench as command
from device.door.wires import FILTERS
from device.evaluate import bench_match, bench_vision, timing
from device.evaluate.bench import SECTIONS, Effort, bench, remarks, table
from device.evaluate.bench_egress import bench_egress
from device.evaluate.bench_journal import APPENDED, bench_journal
from device.evaluate.bench_match import is_identical, measure, random_gallery, random_probes
from device.evaluate.bench_start import bench_start
from device.evaluate.bench_vision import Threads, VisionBench
from device.evaluate.clips import as_jpeg, rendered
from device.evaluate.reel import Reel
from device.evaluate.timing import flush_bytes, in_turns
from device.rehearsal.scenes import empty
from device.store.journal import CAPACITY

LITTLE = Effort(frames=12, rounds=2, seconds=0.5, sizes=(500,), templates=50, is_quick=True)


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


def test_search_figures_say_whether_the_answer_was_right(monkeypatch):
    monkeypatch.setattr(timing, "flush_bytes", lambda: 8000)
    figures = measure(500, 64, 3, SystemClock())
    assert (figures["search_500_identical"], figures["search_500_probes"]) == (40, 40)
    assert figures["search_500_ratio_to_read"] == pytest.approx(
        figures["search_500_ms"] / figures["search_500_read_ms"], rel=0.05)  # a read takes 3 µs, told to 0.1
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


def test_one_object_with_a_key_per_figure_and_a_table_of_it(pack, monkeypatch):
    monkeypatch.setattr(bench_vision, "SETTLED_S", 0.1)
    figures = bench(pack, LITTLE, ("pipeline", "match", "decision", "idle", "policy"))
    for key in ("pipeline_ms", "pipeline_networks_ms", "pipeline_ratio", "search_500_ms", "search_500_identical",
                "decision_age_max_ms", "decision_frames_dropped", "idle_core_share", "idle_core_share_awake",
                "network_mesh_ms", "network_recogniser_ms", "stage_extract_ms", "stage_match_ms", "policy_decide_us"):
        assert isinstance(figures[key], int | float), key
    assert not any(isinstance(value, dict | list) for value in figures.values())
    assert figures["pipeline_ratio"] > 1.0
    assert figures["search_500_identical"] == 40
    assert figures["search_kernel"] in figures["search_kernels"]
    text = "\n".join(table(json.loads(json.dumps(figures))))
    for words in ("network mesh", "stage extract", "pipeline, one face", "1:500 exact", "40 of 40", "age of a frame",
                  "empty scene", "decision over"):
        assert words in text


def test_the_exit_button_and_the_fire_alarm_are_measured_up_to_the_relays_own_process(pack, monkeypatch):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nothing")
    figures = bench_egress(pack, 2)
    assert os.environ["GPIOZERO_PIN_FACTORY"] == "nothing"
    assert (figures["egress_rex_count"], figures["egress_fire_count"]) == (2, 2)
    # No press is believed before it has settled, so nothing less can have been measured.
    assert figures["egress_rex_ms"] >= 1000 * FILTERS["rex"].settle_s
    assert figures["egress_fire_ms"] >= 1000 * FILTERS["fire"].settle_s
    text = "\n".join(table(figures))
    assert "exit button pressed" in text and "longest of 2" in text


def test_a_full_journal_is_verified_and_still_takes_entries():
    figures = bench_journal(is_quick=True)
    assert figures["journal_entries"] == CAPACITY // 100
    assert figures["journal_surplus"] == APPENDED  # what was written to a full one is what the oldest make room for
    assert "journal of 5,000 entries" in "\n".join(table(figures))


@pytest.fixture(scope="module")
def vision(pack):
    return VisionBench(pack)


def test_an_empty_scene_is_measured_once_the_camera_may_rest(vision, monkeypatch):
    jpegs = as_jpeg(rendered(vision._people, empty(), 0.0, 12))
    decoded = {}
    for may_rest, settled_s in ((True, 2.6), (False, 0.1)):
        monkeypatch.setattr(bench_vision, "SETTLED_S", settled_s)
        threads = Threads(vision._pipeline(), jpegs, vision._roster(), SystemClock(), may_rest)
        decoded[may_rest] = threads.idle(1.0)[1]
    assert decoded[True] < 8
    assert decoded[False] > 2 * decoded[True]


def test_a_decision_is_measured_from_the_cameras_driver_to_the_door(pack, vision, monkeypatch):
    seen = []
    for part, name in ((Reel, "retrieve"), (Pump, "read"), (Fit, "__call__"), (CameraWatch, "see")):
        real = getattr(part, name)
        monkeypatch.setattr(part, name, lambda *a, real=real, name=name, **k: (seen.append(name), real(*a, **k))[1])
    figures = vision.decision(2.0)
    assert {"retrieve", "read", "__call__", "see"} <= set(seen)
    assert 0 < figures["decision_age_median_ms"] <= figures["decision_age_max_ms"]
    assert figures["decision_known"] > 0
    assert figures["decision_liveness"] is (pack.passive is not None)


def test_figures_that_say_less_than_they_seem_to_are_remarked_on():
    assert remarks({"decision_known": 5, "decision_liveness": True, "pipeline_ratio": 1.2,
                    "network_pad_v2_ms": 1.0}) == []
    told = remarks({"decision_known": 0, "decision_liveness": False, "pipeline_ratio": 1.2})
    assert [line.split(":")[0] for line in told] == ["decision", "decision", "pipeline"]


def test_a_reel_drops_what_nobody_fetches_and_stamps_the_rest():
    clock = HandClock(mono=100.0)
    reel = Reel(as_jpeg([np.zeros((48, 64, 3), np.uint8)] * 3), 10.0, clock)
    assert reel.grab() and reel.get(cv2.CAP_PROP_POS_MSEC) == 100_000.0
    clock.advance(1.0)
    stamps = []
    for _ in range(2):
        assert reel.grab()
        stamps.append(reel.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    assert stamps == pytest.approx([100.9, 101.0])
    assert reel.missed == 8
    assert reel.retrieve()[1].shape == (48, 64, 3)
    reel.release()
    assert not reel.grab()


def test_more_is_flushed_than_the_largest_cache_holds(tmp_path):
    assert flush_bytes(tmp_path) == 96_000_000
    for number, text in enumerate(("48K", "266240K", "odd")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(text + "\n")
    assert flush_bytes(tmp_path) == 266240 * 1024 * 5 // 4
    (tmp_path / "index0" / "size").write_text("9999999K")
    assert flush_bytes(tmp_path) == 400_000_000


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
    assert set(SECTIONS) == {"pipeline", "match", "decision", "idle", "liveness", "policy", "egress", "journal",
                             "start"}

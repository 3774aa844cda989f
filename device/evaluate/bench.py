"""The terminal's speed and appetite on this machine, one key per figure: `doorctl bench` and `make bench`."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.face.card import Card
from device.face.runtime import runtime_name

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    frames: int
    rounds: int
    seconds: float
    sizes: tuple[int, ...]
    templates: int
    is_quick: bool = False


FULL = Effort(frames=120, rounds=50, seconds=20.0, sizes=(1_000, 10_000, 100_000, 1_000_000), templates=100_000)
QUICK = Effort(frames=30, rounds=10, seconds=3.0, sizes=(1_000, 10_000), templates=1_000, is_quick=True)

SECTIONS = ("pipeline", "match", "decision", "idle", "liveness", "policy", "egress", "journal", "start")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure, what it is compared with, and what it ought to be on two desktop cores."""

    what: str
    value: str
    beside: str
    wanted: str


def bench(card: Card, effort: Effort, only: tuple[str, ...] = SECTIONS,
          tell: Callable[[str], None] = lambda section: None) -> Figures:
    """All figures of the wanted sections, in the order of `SECTIONS`."""
    figures: Figures = {"model_id": card.model_id, "runtime": runtime_name(), "machine": platform.machine(),
                        "cores": os.cpu_count(), "python": platform.python_version()}
    vision = _Vision(card)
    for section in SECTIONS:
        if section in only:
            tell(section)
            figures |= _measured(section, card, effort, vision)
    return figures


class _Vision:
    """The vision benchmark, made when it is first needed."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._made: Any = None

    def get(self) -> Any:
        from device.evaluate.bench_vision import VisionBench

        self._made = self._made or VisionBench(self._card)
        return self._made


def _measured(section: str, card: Card, effort: Effort, vision: _Vision) -> Figures:  # noqa: PLR0911
    if section == "pipeline":
        figures: Figures = vision.get().networks(effort.rounds) | vision.get().pipeline(effort.frames)
        return figures
    if section == "match":
        from device.evaluate.bench_match import ROUNDS, bench_match

        return bench_match(effort.sizes, card.recogniser.dimensions, min(effort.rounds, ROUNDS))
    if section == "liveness":
        from device.evaluate.bench_liveness import bench_liveness

        return bench_liveness(card, effort.is_quick)
    if section == "policy":
        from device.evaluate.bench_policy import bench_policy

        return bench_policy(effort.is_quick)
    if section == "egress":
        from device.evaluate.bench_egress import bench_egress

        return bench_egress(card, effort.rounds)
    if section == "journal":
        from device.evaluate.bench_journal import bench_journal

        return bench_journal(effort.is_quick)
    if section == "start":
        from device.evaluate.bench_start import bench_start

        return bench_start(card, effort.templates)
    measured: Figures = getattr(vision.get(), section)(effort.seconds)
    return measured


def remarks(figures: Figures) -> list[str]:
    """What a reader must know of figures that are there and say less than they seem to."""
    found = []
    if figures.get("decision_liveness") is False:
        found.append("decision: the pack has no passive liveness networks (doorctl models build), with which nobody "
                     "would be recognised unasked; measured without liveness")
    if figures.get("decision_known") == 0:
        found.append("decision: nobody was recognised, so the ages are not those of a recognition; check the pack "
                     "with `doorctl models verify`")
    if "pipeline_ratio" in figures and "network_pad_v2_ms" not in figures:
        found.append("pipeline: the pack has no passive liveness networks; the ratio with liveness is that of the "
                     "other judges")
    return found


def table(figures: Figures) -> list[str]:
    """The figures as lines of a table, with what the design asks for."""
    rows = [row for make in (_pipeline_rows, _match_rows, _liveness_rows, _other_rows) for row in make(figures)]
    widths = [max(len(getattr(row, name)) for row in (*rows, _HEAD)) for name in ("what", "value", "beside")]
    return [f"{row.what:<{widths[0]}}  {row.value:>{widths[1]}}  {row.beside:<{widths[2]}}  {row.wanted}".rstrip()
            for row in (_HEAD, *rows)]


_HEAD = Row("figure", "here", "beside", "wanted")


def _pipeline_rows(f: Figures) -> list[Row]:
    if "pipeline_ms" not in f:
        return []
    rows = [Row(f"{kind} {key.removeprefix(f'{kind}_').removesuffix('_ms')}", f"{f[key]:.2f} ms", "", "")
            for kind in ("network", "stage") for key in f if key.startswith(f"{kind}_")]
    for name, what in (("pipeline", "pipeline, one face, every stage due"),
                       ("settled", "the same once liveness is settled"),
                       ("pipeline_no_liveness", "the same without liveness")):
        if f"{name}_ms" in f:
            rows.append(Row(what, f"{f[f'{name}_ms']:.2f} ms", f"networks alone {f[f'{name}_networks_ms']:.2f} ms, "
                            f"ratio {f[f'{name}_ratio']:.2f}", "<= 1.25"))
    rows.append(Row("mean of all frames of a visit", f"{f['visit_ms_per_frame']:.2f} ms",
                    f"ratio {f['visit_ratio']:.2f}", ""))
    recogniser = f.get("network_recogniser_ms", 0.0)
    rows.append(Row("added by liveness, mean of them", f"{f['liveness_ms_per_frame']:.2f} ms",
                    f"the recogniser {recogniser:.2f} ms", f"<= {max(recogniser, 3.0):.2f} ms"))
    return rows


def _match_rows(f: Figures) -> list[Row]:
    rows = []
    for name in [key.removesuffix("_identical") for key in f if key.endswith("_identical")]:
        size = int(name.split("_")[1])
        label = f"1:{size:,} exact, {f['search_dimensions']}-D, {f['search_kernel']}"
        if f[f"{name}_ms"] is None:
            rows.append(Row(label, "-", "not enough memory", ""))
            continue
        wanted = {100_000: "ratio <= 0.8", 1_000_000: "<= 12 ms"}.get(size, "")
        rows.append(Row(label, f"{f[f'{name}_ms']:.2f} ms",
                        f"one read {f[f'{name}_read_ms']:.2f} ms, ratio {f[f'{name}_ratio_to_read']:.2f}; numpy "
                        f"{f[f'{name}_numpy_ms']:.2f} ms, ratio {f[f'{name}_numpy_ratio_to_read']:.2f}; top-1 equal "
                        f"{f[f'{name}_identical']} of {f[f'{name}_probes']}", wanted))
    return rows


def _liveness_rows(f: Figures) -> list[Row]:
    rows = []
    for name in [key.removesuffix("_visits") for key in f if key.startswith("liveness_") and key.endswith("_visits")]:
        height, _, kind = name.removeprefix("liveness_").partition("_")
        median, p95, longest = (f[f"{name}_{key}_s"] for key in ("median", "p95", "longest"))
        wanted = "" if kind == "stands_still" else "<= 1 s"
        rows.append(Row(f"first usable frame to live, {kind.replace('_', ' ')}, {height} lines",
                        "-" if p95 is None else f"{p95:.2f} s", f"95th percentile of {f[f'{name}_visits']} visits, "
                        f"{f[f'{name}_accepted']} accepted, {f[f'{name}_within_wanted']} within 1 s; median "
                        f"{median} s, longest {longest} s", wanted))
    return rows


def _other_rows(f: Figures) -> list[Row]:
    rows = []
    if "decision_age_max_ms" in f:
        ages = ", ".join(f"{name} {f[f'decision_age_{name}_ms']:.0f}" for name in ("median", "p95", "p99"))
        due = f["decision_frames"] + f["decision_frames_dropped"]
        rows.append(Row("age of a frame at the decision, 1280x720, 30/s", f"{f['decision_age_max_ms']:.0f} ms",
                        f"the oldest; {ages} ms; {f['decision_late']} over 100 ms, {f['decision_frames_dropped']} of "
                        f"{due} frames dropped, {f['decision_known']} knew the sitter", "<= 100 ms"))
    if "idle_core_share" in f:
        rows.append(Row("empty scene, USB camera, 30/s", f"{f['idle_core_share']:.1%} of a core",
                        f"{f['idle_decoded_per_s']:.0f} pictures/s decoded; kept awake "
                        f"{f['idle_core_share_awake']:.1%}; vision alone {f['idle_core_share_vision']:.1%}",
                        "<= 10 %"))
    if "policy_decide_us" in f:
        rows.append(Row(f"decision over {f['policy_rules']} rules, {f['policy_people']:,} people",
                        f"{f['policy_decide_us']:.0f} us", f"p99 {f['policy_decide_p99_us']:.0f} us; reading the "
                        f"person {f['policy_read_person_us']:.0f} us", ""))
    for name, what, wanted in (("rex", "exit button pressed: the relay has moved", "<= 50 ms"),
                               ("fire", "fire alarm: the relay has moved", "<= 200 ms")):
        if f"egress_{name}_ms" in f:
            rows.append(Row(what, f"{f[f'egress_{name}_ms']:.0f} ms", f"longest of {f[f'egress_{name}_count']} "
                            f"{f[f'egress_{name}_max_ms']:.0f} ms", wanted))
    if "journal_entries" in f:
        rows.append(Row(f"journal of {f['journal_entries']:,} entries: verified", f"{f['journal_verify_s']:.1f} s",
                        f"{f['journal_mb']:.0f} MB; one entry more, on the medium, {f['journal_append_ms']:.1f} ms",
                        ""))
    if "start_s" in f:
        rows.append(Row(f"doord with {f['start_templates']:,} templates: able to release", f"{f['start_s']:.2f} s",
                        f"of which its own {f['start_in_doord_s']:.2f} s", "<= 3 s"))
        rows.append(Row(f"doord with {f['start_templates']:,} templates: memory", f"{f['memory_mb']:.0f} MB", "",
                        "<= 250 MB"))
    return rows

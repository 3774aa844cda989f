"""`doorctl status`: how the terminal is, and in plain words how far its decisions can be trusted."""

from __future__ import annotations

import argparse
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration, gallery_reader, load_enrolled, pack
from device.status import running_status, status_path
from device.store.places import places


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "status", help="how the terminal is and how far it can be trusted",
        description="What doord says of itself, and the error rates of its recogniser. Ends with 1 where doord does "
                    "not run or is degraded.",
        epilog="example: doorctl status --json")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 running and well, 1 not."""
    found = running_status(status_path(places()), SystemClock())
    is_running = found is not None
    values = found if found is not None else _at_rest(arguments)
    if arguments.json:
        say_json({"is_running": is_running, **values})
    else:
        for line in _lines(values, is_running):
            say(line)
    return 0 if is_running and not values["degraded"] else 1


def _at_rest(arguments: argparse.Namespace) -> dict[str, Any]:
    """What can be said while doord does not run."""
    config = configuration(arguments)
    card = pack(config)
    with gallery_reader() as reader:
        known = load_enrolled(reader, card, config)
        threshold, models = known.threshold, reader.models() if reader is not None else {}
        return {
            "model_id": card.model_id, "people": reader.people_count() if reader is not None else 0,
            "templates": len(known.gallery),
            "foreign": sum(count for model_id, count in models.items() if model_id != card.model_id),
            "threshold": round(threshold.score, 4), "fpir_asked": config.face.fpir,
            "fpir_stated": threshold.stated_fpir, "fpir_met": threshold.is_budget_met,
            "threshold_why": threshold.why, "degraded": [],
            "rates": [[rate.population, rate.fmr, rate.fpir] for rate in threshold.rates],
        }


def _lines(values: dict[str, Any], is_running: bool) -> list[str]:
    lines = ["doord does not run: sudo systemctl start doord, or `doorctl run`"]
    if is_running:
        lines = [
            f"door {values['door_id']}: {values['phase']}, mode {values['mode']}, relay "
            f"{'answers' if values['relay_alive'] else 'LOST'}",
            f"camera {values['camera']}: {values['camera_state'].removeprefix('camera_')}, {values['fps']} frames/s, "
            f"{values['frames_dropped']} replaced before they were looked at",
            f"liveness: {values['liveness']}",
            f"clock {values['clock']}; journal {values['journal_entries']} entries, {values['journal_waiting']} "
            f"waiting; memory {values['memory_mb']:.0f} MiB; {values['runtime']}",
        ]
        if values["degraded"]:
            lines.append("DEGRADED: " + ", ".join(values["degraded"]))
    lines.append(f"{values['people']} people, {values['templates']} templates, model {values['model_id']}")
    if values["foreign"]:
        lines.append(f"{values['foreign']} templates are of another model and are NOT compared: enrol these people "
                     "again, or set face.pack to that model")
    if "threshold" in values:
        met = "" if values["fpir_met"] else f" (asked for {values['fpir_asked']:g}: NOT met; add card or PIN)"
        lines.append(f"threshold {values['threshold']:.3f}: at most {values['fpir_stated']:.1e} of strangers' tries "
                     f"pass{met}")
        lines += [f"  measured on {name}: false match rate {fmr:.1e} a comparison, {fpir:.1e} a try"
                  for name, fmr, fpir in values["rates"]]
        if values["threshold_why"]:
            lines.append(f"  {values['threshold_why']}")
    lines.append("  measured on few people of East-Asian origin: their false match rate is higher than the average's "
                 "by more than a factor of ten at one threshold; where that matters, demand card or PIN as well")
    return lines

"""The generated parts of the READMEs: what stands between `<!-- name -->` and `<!-- /name -->`.

`make docs` writes them anew; `test_docs` holds that they are current.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arm64 import groups
from fault_table import faults as fault_table_lines

from device.cli import build_parser
from device.commands.config import keys_table
from device.door.reasons import REASONS
from device.door.transitions import diagram
from device.face.card import Card
from device.face.threshold import threshold_for
from device.hardware.headers import HEADER
from device.packs.build import build
from sync.hub.home_settings import keys_table as home_keys

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "tests" / "figures"


def phases() -> str:
    return f"```mermaid\n{diagram()}\n```"


def header() -> str:
    """The forty-pin header: position, numbers of both boards, and what we suggest for it."""
    rows = ["| position | Raspberry Pi (BCM) | Jetson Orin Nano, NX (offset) | line | suggested for |",
            "|---|---|---|---|---|"]
    rows += [f"| {pin.position} | {pin.raspberry} | {pin.jetson} | {pin.line} | `{pin.fits}` |" for pin in HEADER]
    return "\n".join(rows)


def reasons() -> str:
    rows = ["| code | kind | text | 文字 | light | sound | the door |", "|---|---|---|---|---|---|---|"]
    rows += [f"| `{row.code}` | {row.severity.value} | {row.en} | {row.zh} | {row.light} | {row.sound} | {row.door} |"
             for row in REASONS.values()]
    return "\n".join(rows)


def commands() -> str:
    """Every subcommand of doorctl with its one line of help."""
    rows = ["| command | what |", "|---|---|"]
    for name, parser, about in subcommands(build_parser()):
        nested = subcommands(parser)
        verbs = f" `{'`, `'.join(verb for verb, _, _ in nested)}`" if nested else ""
        rows.append(f"| `doorctl {name}`{verbs} | {about} |")
    return "\n".join(rows)


def subcommands(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser, str]]:
    """(name, parser, help) of each subcommand."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return [(name, sub, helps.get(name, "")) for name, sub in action.choices.items()]
    return []


def rates() -> str:
    """Thresholds of the default pack at the default budget, and what was measured with it."""
    card = build()
    lines = [f"Pack `{card.name}` (`{card.model_id}`), `face.fpir` = 0.001; measured rates from its card:", "",
             "| enrolled | threshold | " + " | ".join(f"FPIR on {p.name}" for p in card.populations) + " | budget |",
             "|---|---|" + "---|" * (len(card.populations) + 1)]
    for size in (20, 200, 1000):
        found = threshold_for(card.populations, 1e-3, size)
        shown = " | ".join(f"≤ {rate.fpir:.1e}" for rate in found.rates)
        lines.append(f"| {size} | {found.score:.3f} | {shown} | {'met' if found.is_budget_met else 'not met'} |")
    lines += ["", *_populations(card), "", *_table("evaluate.json")]
    return "\n".join(lines)


def _populations(card: Card) -> list[str]:
    return [f"- {p.name}: {p.data}; {p.genuine_comparisons:,} genuine and {p.impostor_comparisons:,} impostor "
            f"comparisons (`{p.command}`). Below an FMR of {min(one.fmr for one in p.points):.2g} it states nothing."
            for p in card.populations]


def liveness() -> str:
    return "\n".join(_table("liveness.json"))


def speed() -> str:
    return "\n".join(_table("bench.json"))


def sync() -> str:
    return "\n".join(_table("sync.json"))


FAULTS = {
    "kill -9 of door-syncd, hub and broker at random moments": "faults/test_sync_kills.py::test_kills_lose_nothing",
    "kill -9 of doord at random moments": "test_app_kills.py::test_doord_killed_while_it_releases",
    "a partition of seconds to a day": "test_sync_world.py::test_a_partition_of_a_simulated_day",
    "a line that is cut, dead without a word, slow, flips bits": "faults/test_sync_line.py::test_a_line_that_is_dead",
    "pages doubled, reordered, truncated, flipped, replayed": "test_sync_world.py::test_harmed_messages",
    "pages forged, or signed with another key": "test_sync_world.py::test_a_forged_page",
    "a terminal restored from an old backup": "test_sync_world.py::test_a_terminal_that_was_set_back",
    "a terminal with a new journal": "test_sync_world.py::test_a_terminal_with_a_new_journal",
    "a hub restored from an old backup": "test_sync_world.py::test_a_hub_that_was_set_back",
    "a clock wrong by years": "test_sync_world.py::test_clocks_that_are_wrong_by_years",
    "a full disk at the terminal": "test_sync_world.py::test_a_full_disk_at_the_terminal",
    "a full disk at the hub": "test_hub_serve.py::test_a_full_disk",
    "a broker that loses all its state": "test_sync_world.py::test_a_broker_that_forgets_everything",
    "a broker that withholds pages": "test_sync_world.py::test_a_broker_that_withholds_pages",
    "a message that makes a handler fail": "test_agent_sync.py::test_a_message_that_makes_the_agent_fail",
    "a group's key replaced while a terminal is away": "test_sync_world.py::test_a_group_key_that_was_replaced",
    "a release on its way: kills, cuts, a broker that forgets": "test_hub_rollouts.py::test_killed_cut_and_forgotten",
    "chunks of a release doubled, reordered, flipped, lost": "test_hub_rollouts.py::test_chunks_doubled_reordered",
    "10,000 people removed at once": "test_sync_world.py::test_ten_thousand_people_gone_at_once",
    "a command twice, late, after a restart, to another boot": "test_sync_world.py::test_a_command_twice_late",
    "all of these in random order": "faults/test_sync_orders.py::TestOrders",
    "nothing readable at the broker": "test_sync_world.py::test_nothing_that_passes_the_broker_can_be_read",
}


def faults() -> str:
    """Each fault with the beginning of the name of the test that provokes it; KeyError where there is none."""
    rows = ["| fault | test |", "|---|---|"]
    for fault, place in FAULTS.items():
        file, _, name = place.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        if not re.search(rf"^(def )?{name}", text, re.MULTILINE):
            raise KeyError(f"{file} holds no {name}")
        rows.append(f"| {fault} | `{file}`: `{name}` |")
    return "\n".join(rows)


def _table(name: str) -> list[str]:
    """A kept measurement: rows of what, figure, target, command."""
    kept = json.loads((FIGURES / name).read_text(encoding="utf-8"))
    lines = [f"Measured on {kept['machine']}:", "", "| what | measured | to reach | command |", "|---|---|---|---|"]
    columns = ("what", "measured", "to_reach")
    return lines + ["| " + " | ".join(row[name] for name in columns) + f" | `{row['command']}` |"
                    for row in kept["rows"]]


def fault_table() -> str:
    return "\n".join(fault_table_lines())


def arm64() -> str:
    """What is tested under emulation, and what for; then what is left out of that, and why."""
    rows = ["| group | what it shows there | files |", "|---|---|---|"]
    rows += [f"| `{name}` | {about} | {', '.join(f'`{pattern}`' for pattern in patterns)} |"
             for name, (about, patterns) in groups.GROUPS.items()]
    left_out = [f"- `{test.removeprefix('tests/')}`: {why}" for test, why in groups.LEFT_OUT.items()]
    return "\n".join([*rows, *(["", "Left out there:", "", *left_out] if left_out else [])])


def kiosk() -> str:
    return "\n".join(_table("kiosk.json"))


def example() -> str:
    return "```\n" + (FIGURES / "rehearsal.txt").read_text(encoding="utf-8").rstrip() + "\n```"


BLOCKS: dict[str, Callable[[], str]] = {
    "phases": phases, "header": header, "reasons": reasons, "commands": commands, "keys": keys_table, "rates": rates,
    "speed": speed, "example": example, "liveness": liveness, "sync": sync, "faults": faults,
    "kiosk": kiosk, "home_keys": home_keys, "fault_table": fault_table, "arm64": arm64,
}


def readmes() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("README.md")) if not {".venv", "node_modules"} & set(path.parts)]


def written(text: str) -> str:
    """`text` with every generated part as it should be now."""
    def replace(match: re.Match[str]) -> str:
        name: Any = match.group(1)
        return f"<!-- {name} -->\n{BLOCKS[name]()}\n<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", replace, text, flags=re.DOTALL)

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

from device.cli import build_parser
from device.commands.config import keys_table
from device.door.reasons import REASONS
from device.door.transitions import diagram
from device.face.card import Card
from device.face.threshold import threshold_for
from device.packs.build import build

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "tests" / "figures"


def phases() -> str:
    return f"```mermaid\n{diagram()}\n```"


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
            f"comparisons (`{p.command}`). Below an FMR of {10 / p.impostor_comparisons:.0e} it states nothing."
            for p in card.populations]


def liveness() -> str:
    return "\n".join(_table("liveness.json"))


def speed() -> str:
    return "\n".join(_table("bench.json"))


def _table(name: str) -> list[str]:
    """A kept measurement: rows of what, figure, target, command."""
    kept = json.loads((FIGURES / name).read_text(encoding="utf-8"))
    lines = [f"Measured on {kept['machine']}:", "", "| what | measured | to reach | command |", "|---|---|---|---|"]
    columns = ("what", "measured", "to_reach")
    return lines + ["| " + " | ".join(row[name] for name in columns) + f" | `{row['command']}` |"
                    for row in kept["rows"]]


def example() -> str:
    return "```\n" + (FIGURES / "rehearsal.txt").read_text(encoding="utf-8").rstrip() + "\n```"


BLOCKS: dict[str, Callable[[], str]] = {
    "phases": phases, "reasons": reasons, "commands": commands, "keys": keys_table, "rates": rates, "speed": speed,
    "example": example, "liveness": liveness,
}


def readmes() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("README.md")) if not {".venv", "node_modules"} & set(path.parts)]


def written(text: str) -> str:
    """`text` with every generated part as it should be now."""
    def replace(match: re.Match[str]) -> str:
        name: Any = match.group(1)
        return f"<!-- {name} -->\n{BLOCKS[name]()}\n<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", replace, text, flags=re.DOTALL)

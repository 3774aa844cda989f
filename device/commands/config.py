"""`doorctl check-config`: whether terminal.toml can be used, and what every key means."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from device.camera.source import check_sources, shown_source
from device.commands.console import say, say_json
from device.config import DEFAULT_PATH, Config, known_keys, read_config


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "check-config", help="check terminal.toml",
        description="Check a configuration; ends with 0 where it can be used, with 2 and one line where not.",
        epilog="example: doorctl check-config /etc/door/terminal.toml")
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, default=DEFAULT_PATH,
                        help=f"default {DEFAULT_PATH}")
    parser.add_argument("--keys", action="store_true", help="list every key, its default and its meaning instead")
    parser.add_argument("--json", action="store_true", help="one JSON document: the configuration with its defaults")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 usable; ConfigError (2) names the first key that is wrong."""
    if arguments.keys:
        say(keys_table())
        return 0
    config = read_config(arguments.file)
    check_sources(config.camera)
    shown = _shown(config)
    if arguments.json:
        say_json(asdict(shown))
    else:
        say(f"{arguments.file}: good: {config.door.lock} on pin {config.pins.lock}, camera {shown.camera.source}, "
            f"pack {config.face.pack}, {config.face.fpir:g} of strangers' tries may pass")
    return 0


def _shown(config: Config) -> Config:
    """The configuration without the passwords that camera addresses may hold."""
    camera = config.camera
    infrared = None if camera.infrared is None else shown_source(camera.infrared)
    return replace(config, camera=replace(camera, source=shown_source(camera.source), infrared=infrared))


def keys_table() -> str:
    """Every configuration key as a Markdown table; the terminal's README holds the same."""
    lines = ["| key | default | may be | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {default} | {allowed} | {about} |" for key, default, allowed, about in known_keys()]
    return "\n".join(lines)

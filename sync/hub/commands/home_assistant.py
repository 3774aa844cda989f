"""`fleethub home-assistant`: whether the settings hold, and Home Assistant's broker rid of this hub."""

from __future__ import annotations

import argparse
from typing import Any

from device.clock import SystemClock
from device.commands.console import say
from sync.hub.commands.opened import where
from sync.hub.commands.setup import running
from sync.hub.errors import InTheWay, NotThere
from sync.hub.home_settings import HomeSettings, keys_table, read_settings

WAIT_S = 10.0
KEPT_S = 2.0


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "home-assistant", help="show the doors in Home Assistant, over MQTT",
        description="A hub that finds home_assistant.toml in its state shows its terminals in Home Assistant.",
        epilog="example: fleethub home-assistant check")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    keys = verbs.add_parser("keys", help="every key of home_assistant.toml, its default and its meaning",
                            epilog="example: fleethub home-assistant keys")
    keys.set_defaults(run=run_keys)
    check = verbs.add_parser("check", help="read the settings, and connect once",
                             epilog="example: fleethub home-assistant check")
    check.set_defaults(run=run_check)
    removal = verbs.add_parser(
        "remove", help="take this hub's terminals out of Home Assistant",
        description="Removes what the broker keeps of this hub. Stop the hub first; then delete home_assistant.toml, "
                    "or the next start shows them again.",
        epilog="example: fleethub home-assistant remove")
    removal.set_defaults(run=run_remove)


def run_keys(_: argparse.Namespace) -> int:
    say(keys_table())
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """0 where the broker takes us; 2 where the settings cannot be used."""
    settings = _settings(arguments)
    may = "may" if settings.allow_release else "may not"
    _on_line(settings, False)
    say(f"{settings.host}:{settings.port} takes the hub; Home Assistant {may} have doors released")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    with running(where(arguments)):
        count = _on_line(settings, True)
    say(f"{count} messages that {settings.host} kept are gone; now delete {where(arguments).home}")
    return 0


def _settings(arguments: argparse.Namespace) -> HomeSettings:
    found = read_settings(where(arguments).home)
    if found is None:
        raise NotThere(f"{where(arguments).home}: there is no such file; `fleethub home-assistant keys` says what "
                       "belongs in it")
    return found


def _on_line(settings: HomeSettings, is_removal: bool) -> int:
    """Connect, and remove what is kept, if that is wanted; how much it was. InTheWay where the broker does not take
    us."""
    from sync.hub.home_assistant import kept_topics
    from sync.hub.home_entities import HomeTopics
    from sync.hub.home_link import HomeLink

    clock, topics = SystemClock(), HomeTopics(settings.discovery_prefix, settings.node)
    kept = (*topics.kept, topics.status) if is_removal else ()
    link = HomeLink(settings, topics.status, kept, [], clock, "" if is_removal else "-check")
    link.start()
    try:
        if not link.wait(WAIT_S):
            raise InTheWay(f"{settings.host}:{settings.port} does not take the hub: "
                           f"{link.refused or 'no connection; see its address, its certificate and ca'}")
        found = list(dict.fromkeys(kept_topics(link, KEPT_S, clock))) if is_removal else []
        for topic in found:
            link.publish(topic, "", wait_s=WAIT_S)
        return len(found)
    finally:
        link.stop(is_said=False)

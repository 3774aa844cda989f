"""Doors in Home Assistant: what it is shown of each terminal, and, where that is allowed, releases that it asks for.

One thread compares what should stand at Home Assistant's broker with what it was sent, and sends the difference:
configurations, states, and nothing (which removes) for terminals that are no more. So it does not matter which of
them was away. A release that is asked for becomes an ordinary command of the hub, signed and for one boot, ordered by
`home-assistant`. Called by `serve` and by `fleethub home-assistant`.
"""

from __future__ import annotations

import json
import logging
import queue
from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from device.errors import StoreError, TerminalError
from device.threads import Worker
from sync.hub.door_news import Newsroom
from sync.hub.errors import NotThere
from sync.hub.home_entities import (
    OFFLINE,
    ONLINE,
    RELEASE,
    DoorState,
    HomeTopics,
    discovery_text,
    forgetting_text,
    state_text,
)
from sync.hub.home_link import Heard, HomeLink
from sync.hub.home_settings import HomeSettings
from sync.hub.hub import Hub
from sync.hub.overview import SILENT_AFTER
from sync.hub.schema import terminals
from sync.hub.times import milliseconds

log = logging.getLogger(__name__)

ORDERED_BY = "home-assistant"
LOOK_S = 0.5
STALE_S = 5.0  # an order that has lain about for longer is none
BETWEEN_S = 2.0  # one release a terminal
COMPLAIN_S = 10.0


class HomeAssistant:
    """One per running hub."""

    def __init__(self, hub: Hub, settings: HomeSettings, clock: Clock) -> None:
        """ConfigError where password or authority cannot be read."""
        self.counts: Counter[str] = Counter()
        self._hub, self._settings, self._clock = hub, settings, clock
        self.topics = HomeTopics(settings.discovery_prefix, settings.node)
        asked = [self.topics.releases] if settings.allow_release else []
        self.link = HomeLink(settings, self.topics.status, self.topics.kept, asked, clock)
        self._newsroom = Newsroom(hub.storage)
        hub.events.listen(self._newsroom.follow)
        self._sent: dict[str, str] = {}
        self._configs: dict[str, str] = {}
        self._released: dict[str, float] = {}
        self._complained: dict[str, float] = {}
        self._worker = Worker("home assistant", self._work, clock)

    def start(self) -> None:
        self.link.start()
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()
        self.link.stop()

    def _work(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            worker.beat()
            try:
                self._hear(LOOK_S)
                self.link.watch()
                self._newsroom.read()
                self._show()
            except StoreError as error:
                log.error("home assistant: %s", error)
                worker.stopping.wait(1.0)
            except Exception:
                log.exception("what is shown in Home Assistant goes on after an error")
                worker.stopping.wait(1.0)

    # --- what is shown ---------------------------------------------------------------------------------------

    def _show(self) -> None:
        """Send what should stand there and does not, as far as we know."""
        if not self.link.is_up or not self._sent:
            return  # what came with the connection is dealt with first
        wanted = self._wanted()
        for topic in [topic for topic in self._sent if topic not in wanted]:
            if self.link.publish(topic, ""):
                del self._sent[topic]
        for topic, text in wanted.items():
            if self._sent.get(topic) != text and self.link.publish(topic, text):
                self._sent[topic] = text

    def _wanted(self) -> dict[str, str]:
        """Topic -> text of all that is to be kept there."""
        wanted, known = {self.topics.status: ONLINE}, set()
        for row in self._rows():
            known.add(row.terminal_id)
            wanted[self.topics.config(row.terminal_id)] = self._config(row.terminal_id)
            wanted[self.topics.online(row.terminal_id)] = ONLINE if self._is_online(row) else OFFLINE
            wanted[self.topics.state(row.terminal_id)] = state_text(self._state(row))
        self._newsroom.keep(known)
        return wanted

    def _config(self, terminal_id: str) -> str:
        if terminal_id not in self._configs:
            self._configs[terminal_id] = discovery_text(self.topics, terminal_id, self._settings.allow_release)
        return self._configs[terminal_id]

    def _rows(self) -> list[sa.Row[Any]]:
        with self._hub.storage.read() as tx:
            return list(tx.all(sa.select(
                terminals.c.terminal_id, terminals.c.is_online, terminals.c.reported, terminals.c.health).where(
                terminals.c.revoked.is_(None)).order_by(terminals.c.terminal_id)))

    def _is_online(self, row: sa.Row[Any]) -> bool:
        """Connected, as far as the hub was told, and heard of lately."""
        age_ms = milliseconds(self._clock.now()) - (row.reported or 0)
        return bool(row.is_online) and age_ms <= SILENT_AFTER.total_seconds() * 1000

    def _state(self, row: sa.Row[Any]) -> DoorState:
        health, news = json.loads(row.health), self._newsroom.of(row.terminal_id)
        return DoorState(str(health.get("door", "")), str(health.get("mode", "")), tuple(sorted(news.alarms)),
                         news.outcome, news.outcome_at)

    # --- what comes ------------------------------------------------------------------------------------------

    def _hear(self, seconds: float) -> None:
        """Take what comes within that time; a flood holds up nothing."""
        end = self._clock.mono() + seconds
        while (left := end - self._clock.mono()) > 0 and not self._worker.stopping.is_set():
            try:
                self._take(self.link.inbox.get(timeout=left))
            except queue.Empty:
                return

    def _take(self, heard: Heard) -> None:
        if not heard.topic:
            self._begin()
        elif (terminal_id := self.topics.terminal_of(heard.topic)) is not None:
            self._asked(terminal_id, heard)
        elif heard.is_kept and heard.data and heard.topic not in self._wanted():
            log.info("Home Assistant's broker still keeps something of a terminal that is no more; it is removed")
            self.link.publish(heard.topic, "")

    def _begin(self) -> None:
        """The link is up: everything is sent, whatever the broker kept."""
        self._sent = {}
        if not self._settings.allow_release:
            for row in self._rows():
                self.link.publish(self.topics.config(row.terminal_id), forgetting_text(self.topics, row.terminal_id))
        if self.link.publish(self.topics.status, ONLINE):
            self._sent[self.topics.status] = ONLINE

    def _asked(self, terminal_id: str, heard: Heard) -> None:
        """A release was asked for, or something that is none."""
        now = self._clock.mono()
        if not self._settings.allow_release:
            self._complain("releases are not allowed")
        elif heard.is_kept:
            self._complain("it was kept by the broker: whoever sends it must not retain it")
        elif heard.data != RELEASE.encode():
            self._complain(f"it does not say {RELEASE}")
        elif now - heard.mono > STALE_S:
            self._complain("it is old")
        elif now - self._released.get(terminal_id, float("-inf")) < BETWEEN_S:
            self._complain("the last one was a moment ago")
        else:
            self._release(terminal_id, now)

    def _release(self, terminal_id: str, now: float) -> None:
        try:
            command_id = self._hub.orders.command(terminal_id, "release", ordered_by=ORDERED_BY)
        except StoreError:
            raise
        except NotThere:  # there may be any number of such names: none is logged
            self._complain("there is no such terminal")
            return
        except TerminalError as error:
            self._complain(str(error))
            return
        self._released[terminal_id] = now
        self.counts["released"] += 1
        log.info("command %s: a release of %s for Home Assistant", command_id, terminal_id)

    def _complain(self, reason: str) -> None:
        """Count what is dropped; the same reason is logged every ten seconds at most."""
        self.counts["dropped"] += 1
        now = self._clock.mono()
        if now - self._complained.get(reason, float("-inf")) >= COMPLAIN_S:
            if len(self._complained) > 100:
                self._complained.clear()
            self._complained[reason] = now
            log.warning("a message on Home Assistant's release topic is dropped: %s", reason)


def kept_topics(link: HomeLink, seconds: float, clock: Clock) -> Iterator[str]:
    """What the broker keeps of ours, as it tells within so many seconds of the link's coming up."""
    end = clock.mono() + seconds
    while (left := end - clock.mono()) > 0:
        try:
            heard = link.inbox.get(timeout=left)
        except queue.Empty:
            return
        if heard.topic and heard.is_kept and heard.data:
            yield heard.topic

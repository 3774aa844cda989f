"""Who may enter, as the running terminal holds it: gallery, threshold and rules, swapped whole.

The gallery thread polls gallery.db and makes the next Roster when it has changed; vision and the door read the
newest one by reference. A gallery that cannot be read leaves the last one in force.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from device.config import Config
from device.door.rules import Rules, Site
from device.errors import StoreError
from device.face.card import Card
from device.face.gallery import Gallery
from device.face.threshold import SiteScores, Threshold, site_scores, threshold_for
from device.passages import Positions
from device.store.cache import CacheReader, Columns
from device.store.policy_records import PolicyRecords, read_policy, revoked_passes
from device.store.records import Position, Template
from device.store.seal import Key
from device.threads import Worker

log = logging.getLogger(__name__)

POLL_S = 0.02
RETRY_S = 2.0
MANY = 4096  # more new templates than this are read as columns, with all others, which is quicker
QUIET_S = 3.0  # after the last change, before the site's own scores (a tenth of a second's work) are taken anew


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """One generation of everything that a decision needs to know of who may enter.

    positions  where people are, as the hub says
    rejected   templates in the file that did not open under the terminal's key
    foreign    templates of other models, which this terminal does not compare
    """

    generation: int
    gallery: Gallery
    threshold: Threshold
    rules: Rules
    people: int
    rejected: int = 0
    foreign: int = 0
    positions: Positions = field(default_factory=Positions)


class RosterKeeper:
    """Loads the first Roster and follows the file from then on."""

    def __init__(self, path: Path, key: Key, card: Card, config: Config,
                 changed: Callable[[Roster, Roster], None], failed: Callable[[bool], None]) -> None:
        """changed  called with the roster before and the one now, where templates, rules or the threshold changed or
        anything was removed"""
        self._path, self._key, self._card, self._config = path, key, card, config
        self._changed, self._failed = changed, failed
        self._reader: CacheReader | None = None
        self._version = -1
        self._site: SiteScores | None = None
        self._site_generation = -1
        self._positions: dict[str, Position] = {}
        self.current = self.empty()

    def empty(self) -> Roster:
        """Nobody: what a terminal starts with and a blank one stays with."""
        gallery = Gallery.empty(self._card.model_id, self._card.recogniser.dimensions)
        return Roster(0, gallery, self._threshold(gallery), self._rules(None), 0)

    def load(self) -> Roster:
        """Read everything; StoreError where the file cannot be read."""
        reader = self._open()
        self._version = reader.data_version()
        columns = reader.columns(self._card.model_id)
        gallery = self._gallery_of(columns)
        self._judge_site(gallery)
        self._follow_positions(reader, -1)
        self.current = self._roster(reader, gallery, len(columns.rejected))
        del columns
        _give_back_memory()
        return self.current

    def follow(self, worker: Worker) -> None:
        """Body of the gallery thread: notice a commit within `POLL_S` and swap the roster."""
        is_failed = False
        quiet_s = 0.0
        while not worker.stopping.wait(RETRY_S if is_failed else POLL_S):
            worker.beat()
            try:
                before = self.current
                is_changed = self.refresh()
                quiet_s = 0.0 if is_changed else quiet_s + POLL_S
                if quiet_s > QUIET_S and self._site_generation != self.current.generation:
                    is_changed = self.rejudge()
            except StoreError as error:
                if not is_failed:
                    log.error("the gallery cannot be read: %s", error)
                    self._failed(True)
                is_failed = True
                self.release()
                continue
            if is_failed:
                is_failed = False
                self._failed(False)
            if is_changed:
                self._changed(before, self.current)
        self.release()

    def catch_up(self) -> None:
        """One look at the file, by hand: take over what was committed, and tell of it."""
        before = self.current
        if self.refresh():
            self._changed(before, self.current)

    def refresh(self) -> bool:
        """Take over what was committed since; whether anything was that must be told (somebody's passing a door is
        not)."""
        reader = self._open()
        version = reader.data_version()
        if version == self._version:
            return False
        self._version = version
        # A checkpoint moves the data version too; the generation tells a change from that.
        if reader.generation == self.current.generation:
            return False
        changes = reader.changes_since(self.current.generation, self._card.model_id)
        if not changes.is_complete or len(changes.puts) > MANY:
            self.load()
            return True
        gallery = self.current.gallery.next(_templates(changes.puts), changes.drops, changes.generation)
        before, rejected = self.current, len(changes.puts.rejected)
        has_dropped = reader.has_dropped_since(before.generation)
        self._follow_positions(reader, before.generation)
        self.current = self._roster(reader, gallery, rejected)
        return has_dropped or len(changes.puts) > 0 or rejected > 0 or before.rules != self.current.rules

    def rejudge(self) -> bool:
        """Take the site's own scores anew; whether the threshold moved."""
        before = self.current.threshold
        self._judge_site(self.current.gallery)
        self.current = replace(self.current, threshold=self._threshold(self.current.gallery))
        return self.current.threshold.score != before.score

    def _judge_site(self, gallery: Gallery) -> None:
        self._site, self._site_generation = site_scores(gallery), gallery.generation

    def _open(self) -> CacheReader:
        if self._reader is None:
            self._reader = CacheReader.open(self._path, self._key)
        return self._reader

    def release(self) -> None:
        """Close the file; the next read opens it again, on whichever thread that is."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
            self._version = -1

    def _roster(self, reader: CacheReader, gallery: Gallery, rejected: int) -> Roster:
        models = reader.models()
        foreign = sum(count for model_id, count in models.items() if model_id != self._card.model_id)
        return Roster(gallery.generation, gallery, self._threshold(gallery), self._rules(reader),
                      reader.people_count(), rejected, foreign, Positions.of(self._positions.values()))

    def _follow_positions(self, reader: CacheReader, generation: int) -> None:
        if generation < 0:
            self._positions.clear()
        found, gone = reader.records_since("position", Position, generation)
        for key in gone:
            self._positions.pop(key, None)
        self._positions.update(found)

    def _gallery_of(self, columns: Columns) -> Gallery:
        if not len(columns):
            gallery = Gallery.empty(self._card.model_id, self._card.recogniser.dimensions)
            return gallery.next(generation=columns.generation)
        return Gallery.build(self._card.model_id, self._card.recogniser.dimensions, columns.template_ids,
                             columns.person_ids, columns.vectors, columns.scales, columns.generation)

    def _threshold(self, gallery: Gallery) -> Threshold:
        return threshold_for(self._card.populations, self._config.face.fpir, len(gallery), self._site)

    def _rules(self, reader: CacheReader | None) -> Rules:
        records = PolicyRecords() if reader is None else read_policy(reader)
        return rules_of(records, self._config, frozenset() if reader is None else revoked_passes(reader))


def rules_of(records: PolicyRecords, config: Config, revoked: frozenset[str] = frozenset()) -> Rules:
    """The administrator's records as this terminal's door uses them."""
    door = config.door
    site = Site(door_id=door.id, time_zone=door.time_zone, release_s=door.release_s,
                release_accessible_s=door.release_accessible_s, lockout_after=door.lockout_after,
                policy_version=records.version)
    return Rules(records.rules, records.schedules, site, records.holidays, records.plans, records.areas,
                 records.doors, revoked)


def _templates(columns: Columns) -> list[Template]:
    # Quality and moment of making are of no use to the matrix, and not read for it.
    from datetime import datetime, timezone

    never = datetime.fromtimestamp(0, timezone.utc)
    return [
        Template(template_id, person_id, columns.model_id, columns.vectors[row].tobytes(),
                 float(columns.scales[row]), 0.0, never)
        for row, (template_id, person_id) in enumerate(zip(columns.template_ids, columns.person_ids, strict=True))
    ]


def _give_back_memory() -> None:
    """What reading a gallery of 100 000 needed for a moment is 50 MB, which glibc would keep."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)

"""What the journal and the door's state say of the gallery: loaded, unreadable, of another model, without anybody."""

from __future__ import annotations

import logging
from typing import Protocol

from device.door.reasons import entry
from device.errors import SealBroken, StoreError
from device.inbox import Inbox
from device.roster import Roster, RosterKeeper
from device.store.records import NewEntry

log = logging.getLogger(__name__)


class Degrade(Protocol):
    """Begins or ends a degraded mode."""

    def __call__(self, reason: str, is_active: bool, detail: str = "") -> None: ...


class GalleryNews:
    """`changed` and `failed` come from the gallery's thread."""

    def __init__(self, model_id: str, inbox: Inbox, degrade: Degrade) -> None:
        self._model_id, self._inbox, self._degrade = model_id, inbox, degrade

    def load(self, rosters: RosterKeeper) -> None:
        """Read the gallery for the start; the door goes on without it where it cannot be read."""
        try:
            rosters.load()
        except (StoreError, SealBroken) as error:
            log.error("starting without the gallery: %s", error)
            self.failed(True)
        finally:
            rosters.release()

    def changed(self, before: Roster, roster: Roster) -> None:
        self.tell(roster)
        version = roster.rules.site.policy_version
        if version != before.rules.site.policy_version:
            self._inbox.note(entry("policy_changed", policy=version, rules=len(roster.rules.rules)))

    def failed(self, has_failed: bool) -> None:
        self._degrade("gallery_unreadable", has_failed)

    def tell(self, roster: Roster) -> None:
        """What is there now, into the journal."""
        self._inbox.note(loaded(roster))
        if roster.foreign:
            log.warning("%d templates are of another model than %s and are not compared", roster.foreign,
                        self._model_id)

    def judge(self, roster: Roster) -> None:
        """Say it where no face can ever be let in; people who have cards or PINs alone are no fault."""
        foreign = f"{roster.foreign} templates are of another model" if roster.foreign else ""
        self._degrade("gallery_empty", not len(roster.gallery) and bool(foreign or not roster.people), foreign)


def loaded(roster: Roster) -> NewEntry:
    return entry("gallery_loaded", generation=roster.generation, templates=len(roster.gallery),
                 rejected=roster.rejected)

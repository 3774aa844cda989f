"""Whether the hub's clock can be believed, where something is deleted for good because its time has run out.

It is believed where it goes on from when it was last believed (a look every ten minutes while the hub runs), by no
more than two days; or where a terminal whose own clock is synced says the same within an hour. Else nothing is
deleted by time until one of the two holds, or the administrator vouches for it (`fleethub tidy --clock-is-right`).
Called by `hub`.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta

import sqlalchemy as sa

from device.clock import Clock, ClockQuality
from sync.hub.schema import meta, terminals, tokens
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import milliseconds, moment

log = logging.getLogger(__name__)

BELIEVED = "clock_believed"
STEP = timedelta(days=2)  # a hub that was switched off over a weekend
AGREES = timedelta(hours=1)
RECENT = timedelta(minutes=10)


class ClockCheck:
    """Of one hub."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self._was_believed = True

    def doubt(self) -> str:
        """Why the clock cannot be believed; empty where it can."""
        with self._storage.read() as tx:
            now, last = self._clock.now(), self._last(tx)
            if last is None or last - AGREES <= now <= last + STEP or self._is_borne_out(tx, now):
                return ""
        return (f"the hub's clock says {now:%Y-%m-%d %H:%M}Z, and was last known to be right at "
                f"{last:%Y-%m-%d %H:%M}Z; set it, or vouch for it: fleethub tidy --clock-is-right")

    def believe(self, is_vouched_for: bool = False) -> bool:
        """Whether the clock can be believed, and if so, that it is from now on."""
        doubt = "" if is_vouched_for else self.doubt()
        if doubt and self._was_believed:
            log.error("nothing is deleted by time: %s", doubt)
        self._was_believed = not doubt
        if not doubt:
            with self._storage.write() as tx:
                insert_or_update(tx, meta, [{"name": BELIEVED, "value": str(milliseconds(self._clock.now()))}])
        return not doubt

    def _last(self, tx: Tx) -> datetime | None:
        """When it was last believed; for a hub that has never looked, when its newest token was made."""
        known = tx.value(sa.select(meta.c.value).where(meta.c.name == BELIEVED))
        if known is None:
            known = tx.value(sa.select(sa.func.max(tokens.c.created)))
        return None if known is None else moment(int(known))

    def _is_borne_out(self, tx: Tx, now: datetime) -> bool:
        """Whether a terminal that has just reported, and whose clock is synced, says the same."""
        recent = tx.all(sa.select(terminals.c.issued, terminals.c.reported, terminals.c.health).where(
            terminals.c.reported > milliseconds(now - RECENT), terminals.c.issued.is_not(None)))
        return any(json.loads(row.health).get("clock_quality") == ClockQuality.SYNCED.value
                   and abs(moment(row.issued) - moment(row.reported)) <= AGREES for row in recent)

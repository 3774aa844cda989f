"""The pace of the show: as many refused visitors in a minute as the door bears without locking anybody out.

Called by `rehearsal.show`. A show that goes on for hours shows more attacks than any door sees; it waits instead of
asking for a weaker policy. The door's decisions are told on its thread, the director reads them on another: the tries
are one tuple, replaced as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from device.door.decision import Decision
from device.door.rules import Site

ATTACK, STRANGER = "attack", "stranger"
_KEYS = {"attack": ATTACK, "not_proved": ATTACK, "unknown_face": STRANGER}
_MOST_KEPT = 64
_SLACK_S = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """The newest refusals and lock-outs, each with its key: when it was, and until when it lasts."""

    tries: tuple[tuple[str, float], ...] = ()
    locked: tuple[tuple[str, float], ...] = ()

    def after(self, decision: Decision, site: Site, mono: float) -> Pace:
        """The pace once the door has decided that."""
        key = _KEYS.get(decision.reason)
        if decision.granted or key is None:
            return self
        kept = replace(self, tries=(*self.tries[1 - _MOST_KEPT:], (key, mono)))
        if "lockout_alarm" not in decision.alarms:
            return kept
        return replace(kept, locked=(*self.locked[1 - _MOST_KEPT:], (key, mono + site.lockout_s)))

    def wait_s(self, key: str | None, site: Site, mono: float) -> float:
        """Seconds until the next visitor of that kind may come without being locked out, or locking others out.

        key  ATTACK or STRANGER; None for one who is to be let in, whom attacks lock out
        """
        free = max((until for kind, until in self.locked if kind == (key or ATTACK)), default=float("-inf"))
        mine = [at for kind, at in self.tries if kind == key]
        most = max(site.lockout_after - 1, 1)
        if len(mine) >= most:
            free = max(free, mine[-most] + site.lockout_window_s)
        return max(free + _SLACK_S - mono, 0.0)

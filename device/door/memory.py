"""What the policy remembers from one decision to the next: tries, lock-outs, answers, first proofs, company.

Each function takes a Memory and gives the next one. Every list is bounded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from device.door.decision import Answer, Claim, Company, Decision, Lockout, Memory, Now, Shown, Try
from device.door.rules import Site

T = TypeVar("T")
MOST_KEPT = 64


def forget(memory: Memory, mono: float) -> Memory:
    """Drop what has run out; the same object where nothing has."""
    timed = (memory.lockouts, memory.shown, memory.company)
    if all(one.until_mono > mono for kept in timed for one in kept):
        return memory
    return replace(
        memory,
        lockouts=tuple(one for one in memory.lockouts if one.until_mono > mono),
        shown=tuple(one for one in memory.shown if one.until_mono > mono),
        company=tuple(one for one in memory.company if one.until_mono > mono),
    )


def is_told(memory: Memory, claim: Claim, reason: str) -> bool:
    """Whether this track has had that answer."""
    return claim.track_id is not None and any(
        answer.track_id == claim.track_id and answer.reason == reason for answer in memory.answers
    )


def is_locked(memory: Memory, key: str) -> bool:
    return any(lockout.key == key for lockout in memory.lockouts)


def count_try(memory: Memory, key: str, site: Site, mono: float) -> tuple[Memory, bool]:
    """With one more failed try; whether it is the one that locks that way out."""
    tries = _kept((*memory.tries, Try(key, mono)))
    recent = sum(1 for one in tries if one.key == key and one.mono > mono - site.lockout_window_s)
    if recent < site.lockout_after:
        return replace(memory, tries=tries), False
    lockouts = _kept((*memory.lockouts, Lockout(key, mono + site.lockout_s)))
    return replace(memory, tries=tuple(one for one in tries if one.key != key), lockouts=lockouts), True


def answer(decision: Decision, claim: Claim, site: Site, memory: Memory, now: Now) -> tuple[Decision, Memory]:
    """Mark what this track has been told already, and remember what it is told now."""
    if claim.track_id is None:
        return decision, memory
    if decision.person_id is None and is_told(memory, claim, "locked_out"):
        return replace(decision, reason="locked_out", alarms=(), is_repeat=True), memory
    told = _told(memory, decision, claim.track_id)
    if told is not None and (not decision.granted or now.mono < told.mono + site.repeat_s):
        return replace(decision, alarms=(), is_repeat=True), memory
    others = memory.answers if told is None else tuple(one for one in memory.answers if one is not told)
    fresh = Answer(claim.track_id, decision.person_id, decision.reason, now.mono, decision.granted)
    return decision, replace(memory, answers=_kept((*others, fresh)))


def is_just_granted(memory: Memory, person_id: str, site: Site, mono: float) -> bool:
    """Whether a face in view is that of somebody who was admitted a moment ago: they are asked for nothing more."""
    return any(one.granted and one.person_id == person_id and mono < one.mono + site.repeat_s
               for one in memory.answers)


def remember(memory: Memory, proof: Shown) -> Memory:
    """A first proof, waiting for the rest."""
    others = without(memory, proof.person_id).shown
    return replace(memory, shown=_kept((*others, proof)))


def without(memory: Memory, person_id: str) -> Memory:
    """Without the first proofs of a person."""
    if all(shown.person_id != person_id for shown in memory.shown):
        return memory
    return replace(memory, shown=tuple(shown for shown in memory.shown if shown.person_id != person_id))


def with_company(memory: Memory, *fresh: Company) -> Memory:
    """With these persons at the door, in place of what was known of them."""
    ids = {one.person_id for one in fresh}
    others = (one for one in memory.company if one.person_id not in ids)
    return replace(memory, company=_kept((*others, *fresh)))


def _told(memory: Memory, decision: Decision, track_id: int) -> Answer | None:
    """The same answer, if it was given: a granted person is the same on any track, a refusal belongs to its track."""
    reason, person_id, is_any_track = decision.reason, decision.person_id, decision.granted
    for one in memory.answers:
        if one.person_id == person_id and one.reason == reason and (is_any_track or one.track_id == track_id):
            return one
    return None


def _kept(values: tuple[T, ...]) -> tuple[T, ...]:
    return values[-MOST_KEPT:]

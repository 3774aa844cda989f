"""Who may pass: a claim, the rules and the moment in, a decision out. Pure; called by the door thread only.

A try is one face track, or one credential shown, however many frames the track lives. Failed tries are counted by
the way of trying:

    stranger        a face that nobody has: raises the alarm; strangers alone are told to wait, everyone else passes,
                    because a stranger's face does not become likelier by waiting and a busy hall is full of strangers
    attack          a picture or screen instead of a face, or one that does not do what is asked: locks out the face
                    alone, since the next picture might be somebody's; every other way in, and the face together with
                    another proof, still works
    card, pin, qr   a guess: locks out that way alone, since the next guess might be right

An untrusted clock refuses whatever depends on the time (a person's validity, a schedule other than "always").
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from device.clock import ClockQuality
from device.door.schedule import LocalMoment, is_active, is_always, local_moment
from device.door.types import (
    AccessRule,
    Answer,
    Claim,
    Decision,
    Lockout,
    Memory,
    Method,
    Now,
    Person,
    Rules,
    Shown,
    Site,
    Try,
)
from device.sighting import Demand, Judgement, Outcome, Sighting
from device.store.records import PersonClass

T = TypeVar("T")
_FACE = frozenset({Method.FACE})
_NOBODY = {Outcome.ATTACK: "attack", Outcome.UNPROVED: "not_proved"}
_TRY_KEYS = {"unknown_face": "stranger", "attack": "attack", "not_proved": "attack", "unknown_card": "card",
             "wrong_pin": "pin", "bad_pass": "qr"}
_GUESSES = {_FACE: "attack", frozenset({Method.CARD}): "card", frozenset({Method.PIN}): "pin",
            frozenset({Method.QR}): "qr"}
_GRANTED = {_FACE: "face_granted", frozenset({Method.CARD}): "card_granted", frozenset({Method.PIN}): "pin_granted",
            frozenset({Method.QR}): "pass_granted"}
_MOST_KEPT = 64  # of each list in Memory

# The reason that says most about what the person could do wins among several rules that all refuse.
_RANK = ("no_rule", "schedule_missing", "outside_schedule", "clock_untrusted", "method_not_allowed", "more_needed")


def claim_from(sighting: Sighting) -> Claim | None:
    """What a sighting claims; None while vision is still looking or the picture is too poor to say anything."""
    if sighting.outcome in (Outcome.POOR, Outcome.PENDING):
        return None
    is_known = sighting.outcome is Outcome.KNOWN
    return Claim(
        person_id=sighting.person_id if is_known else None,
        methods=_FACE,
        reason_if_none=_NOBODY.get(sighting.outcome, "unknown_face"),
        track_id=sighting.track_id,
        score=sighting.score,
        threshold=sighting.threshold,
        margin=sighting.margin,
        model_id=sighting.model_id,
        frames=sighting.frames,
        since_mono=sighting.since_mono,
        species=_species(sighting) if sighting.outcome is Outcome.ATTACK else "",
        judges=" ".join(f"{one.judge}={_score_word(one)}" for one in sighting.judgements),
    )


def _species(sighting: Sighting) -> str:
    """What the judge that was surest of the attack took it for."""
    named = [one for one in sighting.judgements if one.score is not None and one.reason]
    surest = min(named, key=lambda one: one.score or 0.0, default=None)
    return surest.reason if surest is not None else "unknown"


def _score_word(judgement: Judgement) -> str:
    return judgement.reason or "abstains" if judgement.score is None else f"{judgement.score:.2f}"


def decide(claim: Claim, person: Person | None, rules: Rules, memory: Memory, now: Now) -> tuple[Decision, Memory]:
    """The decision on `claim` and what to remember of it.

    person  the record of `claim.person_id`, None where there is none (removed, or nobody recognised)
    """
    memory = _forget(memory, now.mono)
    if claim.person_id is None:
        decision, memory = _nobody(claim, rules.site, memory, now)
    elif person is None or person.person_id != claim.person_id:
        decision = Decision(False, "no_person", claim.person_id, claim=claim)
    else:
        decision, memory = _somebody(claim, person, rules, memory, now)
    return _answer(decision, claim, rules.site, memory, now)


# --- nobody recognised -----------------------------------------------------------------------------------


def _nobody(claim: Claim, site: Site, memory: Memory, now: Now) -> tuple[Decision, Memory]:
    key = _TRY_KEYS.get(claim.reason_if_none, "stranger")
    refused = Decision(False, claim.reason_if_none, claim.tried_person_id, claim=claim)
    if _is_told(memory, claim, refused.reason) or _is_told(memory, claim, "locked_out"):
        return refused, memory
    if _is_locked(memory, key):
        return replace(refused, reason="locked_out"), memory
    tries = _kept((*memory.tries, Try(key, now.mono)))
    recent = sum(1 for one in tries if one.key == key and one.mono > now.mono - site.lockout_window_s)
    if recent < site.lockout_after:
        return refused, replace(memory, tries=tries)
    lockouts = _kept((*memory.lockouts, Lockout(key, now.mono + site.lockout_s)))
    tries = tuple(one for one in tries if one.key != key)
    return replace(refused, alarms=("lockout_alarm",)), replace(memory, tries=tries, lockouts=lockouts)


# --- somebody recognised ---------------------------------------------------------------------------------


def _somebody(claim: Claim, person: Person, rules: Rules, memory: Memory, now: Now) -> tuple[Decision, Memory]:
    earlier = next((shown for shown in memory.shown if shown.person_id == person.person_id), None)
    proof = Shown(person.person_id, claim.methods, now.mono + rules.site.combine_s, claim.is_duress)
    if earlier is not None:
        both, is_duress = claim.methods | earlier.methods, claim.is_duress or earlier.is_duress
        proof = replace(proof, methods=both, is_duress=is_duress)
    refused = Decision(False, "", person.person_id, claim=claim)
    if person.person_class is PersonClass.BLOCKED:
        return replace(refused, reason="blocked", alarms=("blocked_seen",)), memory
    if _is_guess_locked(claim, proof, memory):
        return replace(refused, reason="locked_out"), memory
    if reason := _validity(person, now):
        return replace(refused, reason=reason), memory
    rule, reason, needs = _rule_for(person, proof.methods, rules, now)
    if rule is not None:
        return _grant(claim, person, rule, proof, rules.site), _without(memory, person.person_id)
    if not needs:
        return replace(refused, reason=reason), memory
    demand = Demand(expect_person_id=person.person_id) if Method.FACE in needs else None
    return replace(refused, reason=reason, needs=needs, demand=demand), _remember(memory, proof)


def _is_guess_locked(claim: Claim, proof: Shown, memory: Memory) -> bool:
    """The face is locked out only where nothing else was shown; a card, PIN or pass always."""
    key = _GUESSES.get(claim.methods)
    return key is not None and _is_locked(memory, key) and (claim.methods != _FACE or proof.methods == _FACE)


def _validity(person: Person, now: Now) -> str:
    if person.valid_from is None and person.valid_until is None:
        return ""
    if now.quality is ClockQuality.UNTRUSTED:
        return "clock_untrusted"
    if person.valid_from is not None and now.at < person.valid_from:
        return "not_yet_valid"
    return "expired" if person.valid_until is not None and now.at >= person.valid_until else ""


def _rule_for(
    person: Person, methods: frozenset[Method], rules: Rules, now: Now
) -> tuple[AccessRule | None, str, frozenset[Method]]:
    """The first rule that admits; else None, the most telling refusal, and what is missing where that would help."""
    best_reason, best_needs = "no_rule", frozenset[Method]()
    moment = _moment(rules.site, now)
    verdicts: dict[str, str] = {}
    for group in person.groups:
        for level in rules.by_group.get(group, ()):
            rule = level.rule
            reason = verdicts.get(rule.schedule_id)
            if reason is None:
                reason = verdicts[rule.schedule_id] = _schedule_verdict(rule.schedule_id, rules, moment)
            needs = frozenset[Method]()
            if not reason:
                reason, needs = _method_verdict(level.combinations, methods)
            if not reason:
                return rule, "", needs
            if _RANK.index(reason) > _RANK.index(best_reason):
                best_reason, best_needs = reason, needs
    return None, best_reason, best_needs


def _moment(site: Site, now: Now) -> LocalMoment | None:
    """Local time, None where it cannot be trusted or the zone is unknown."""
    if now.quality is ClockQuality.UNTRUSTED:
        return None
    try:
        return local_moment(now.at, site.time_zone)
    except ValueError:
        return None


def _schedule_verdict(schedule_id: str, rules: Rules, moment: LocalMoment | None) -> str:
    schedule = rules.by_schedule.get(schedule_id)
    if schedule is None:
        return "schedule_missing"
    if moment is None:
        return "" if is_always(schedule) else "clock_untrusted"
    return "" if is_active(schedule, moment) else "outside_schedule"


def _method_verdict(
    combinations: tuple[frozenset[Method], ...], methods: frozenset[Method]
) -> tuple[str, frozenset[Method]]:
    least: frozenset[Method] | None = None
    for combination in combinations:
        if combination <= methods:
            return "", frozenset()
        missing = combination - methods
        if len(missing) < len(combination) and (least is None or len(missing) < len(least)):
            least = missing
    return ("method_not_allowed", frozenset()) if least is None else ("more_needed", least)


def _grant(claim: Claim, person: Person, rule: AccessRule, proof: Shown, site: Site) -> Decision:
    reason = _GRANTED.get(proof.methods, "combined_granted")
    alarms = ("duress",) if proof.is_duress else ()
    seconds = _release_s(person, rule, site)
    return Decision(True, reason, person.person_id, seconds, rule.rule_id, claim, alarms=alarms)


def _release_s(person: Person, rule: AccessRule, site: Site) -> float:
    seconds = rule.release_s if rule.release_s is not None and rule.release_s > 0 else site.release_s
    return max(seconds, site.release_accessible_s) if person.person_class is PersonClass.ACCESSIBLE else seconds


# --- memory ----------------------------------------------------------------------------------------------


def _answer(decision: Decision, claim: Claim, site: Site, memory: Memory, now: Now) -> tuple[Decision, Memory]:
    """Mark what this track has been told already, and remember what it is told now."""
    if claim.track_id is None:
        return decision, memory
    if decision.person_id is None and _is_told(memory, claim, "locked_out"):
        return replace(decision, reason="locked_out", alarms=(), is_repeat=True), memory
    told = [answer for answer in memory.answers if _is_same(answer, decision, claim)]
    if told and (not decision.granted or now.mono < told[-1].mono + site.repeat_s):
        return replace(decision, alarms=(), is_repeat=True), memory
    answer = Answer(claim.track_id, decision.person_id, decision.reason, now.mono)
    others = tuple(one for one in memory.answers if one not in told)
    return decision, replace(memory, answers=_kept((*others, answer)))


def _is_same(answer: Answer, decision: Decision, claim: Claim) -> bool:
    """A granted person is the same on any track; a refusal belongs to its track."""
    if answer.reason != decision.reason or answer.person_id != decision.person_id:
        return False
    return decision.granted or answer.track_id == claim.track_id


def _is_told(memory: Memory, claim: Claim, reason: str) -> bool:
    return claim.track_id is not None and any(
        answer.track_id == claim.track_id and answer.reason == reason for answer in memory.answers
    )


def _is_locked(memory: Memory, key: str) -> bool:
    return any(lockout.key == key for lockout in memory.lockouts)


def _remember(memory: Memory, proof: Shown) -> Memory:
    others = _without(memory, proof.person_id).shown
    return replace(memory, shown=_kept((*others, proof)))


def _without(memory: Memory, person_id: str) -> Memory:
    if all(shown.person_id != person_id for shown in memory.shown):
        return memory
    return replace(memory, shown=tuple(shown for shown in memory.shown if shown.person_id != person_id))


def _forget(memory: Memory, mono: float) -> Memory:
    """Drop what has run out; the same object where nothing has."""
    if all(one.until_mono > mono for one in memory.lockouts) and all(one.until_mono > mono for one in memory.shown):
        return memory
    return replace(
        memory,
        lockouts=tuple(one for one in memory.lockouts if one.until_mono > mono),
        shown=tuple(one for one in memory.shown if one.until_mono > mono),
    )


def _kept(values: tuple[T, ...]) -> tuple[T, ...]:
    return values[-_MOST_KEPT:]

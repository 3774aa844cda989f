"""Who may pass: a claim, the rules, the scene and the moment in, a decision out. Pure; called by the
door thread only.

A try is one face track, or one credential shown, however many frames the track lives. Failed tries are counted by
the way of trying:

    stranger        a face that nobody has: raises the alarm; strangers alone are told to wait, everyone else passes,
                    because a stranger's face does not become likelier by waiting and a busy hall is full of strangers
    attack          a picture or screen instead of a face, or one that does not do what is asked: locks out the face
                    alone, since the next picture might be somebody's; every other way in, and the face together with
                    another proof, still works
    card, pin, qr   a guess: locks out that way alone, since the next guess might be right

The order in which a recognised person is judged, each step with a reason of its own: blocked; locked out; the pass
they showed; their validity; the rules (`entitlement`); anti-passback and occupancy (`passback`); company (`company`).
"""

from __future__ import annotations

from dataclasses import replace

from device.door import memory as remembered
from device.door.company import Party, party, passes, waits
from device.door.decision import Claim, Decision, Memory, Now, PassFacts, Scene, Shown
from device.door.entitlement import entitlement, moment_at, schedule_verdict, validity
from device.door.passback import Verdict, area_after, is_full, passback
from device.door.rules import Rules, Site
from device.sighting import Demand
from device.store.records import AccessRule, Direction, Method, Person, PersonClass

_FACE = frozenset({Method.FACE})
_TRY_KEYS = {"unknown_face": "stranger", "attack": "attack", "not_proved": "attack", "unknown_card": "card",
             "wrong_pin": "pin", "bad_pass": "qr"}
_GUESSES = {_FACE: "attack", frozenset({Method.CARD}): "card", frozenset({Method.PIN}): "pin",
            frozenset({Method.QR}): "qr"}
_ASKS = frozenset({"more_needed", "company_needed", "escort_needed"})
_GRANTED = {_FACE: "face_granted", frozenset({Method.CARD}): "card_granted", frozenset({Method.PIN}): "pin_granted",
            frozenset({Method.QR}): "pass_granted"}


def decide(claim: Claim, person: Person | None, rules: Rules, memory: Memory, now: Now,
           scene: Scene = Scene()) -> tuple[Decision, Memory]:  # noqa: B008 (frozen)
    """The decision on `claim` and what to remember of it.

    person  the record of `claim.person_id`, None where there is none (removed, or nobody recognised)
    """
    before = memory = remembered.forget(memory, now.mono)
    person = _holder(claim, person)
    if claim.person_id is None:
        decision, memory = _nobody(claim, rules.site, memory, now)
    elif person is None or person.person_id != claim.person_id:
        decision = Decision(False, "no_person", claim.person_id, claim=claim)
    else:
        decision, memory = _somebody(claim, person, rules, memory, now, scene)
    if decision.reason in _ASKS and claim.track_id is not None and remembered.is_just_granted(
            before, claim.person_id or "", rules.site, now.mono):
        return replace(decision, is_repeat=True, demand=None), before
    return remembered.answer(decision, claim, rules.site, memory, now)


def _nobody(claim: Claim, site: Site, memory: Memory, now: Now) -> tuple[Decision, Memory]:
    key = _TRY_KEYS.get(claim.reason_if_none, "stranger")
    refused = Decision(False, claim.reason_if_none, claim.tried_person_id, claim=claim)
    if remembered.is_told(memory, claim, refused.reason) or remembered.is_told(memory, claim, "locked_out"):
        return refused, memory
    if remembered.is_locked(memory, key):
        return replace(refused, reason="locked_out"), memory
    memory, is_last = remembered.count_try(memory, key, site, now.mono)
    return (replace(refused, alarms=("lockout_alarm",)) if is_last else refused), memory


# --- somebody recognised ---------------------------------------------------------------------------------


def _somebody(claim: Claim, person: Person, rules: Rules, memory: Memory, now: Now,
              scene: Scene) -> tuple[Decision, Memory]:
    proof = _proof(claim, person, rules.site, memory, now)
    refused = Decision(False, "", person.person_id, claim=claim, methods=proof.methods)
    if person.person_class is PersonClass.BLOCKED:
        return replace(refused, reason="blocked", alarms=("blocked_seen",)), memory
    if reason := _barred(claim, person, proof, rules, memory, now, scene):
        return replace(refused, reason=reason), memory
    found = entitlement(person, proof.methods, claim.direction, rules, now)
    if found.rule is None:
        refused = replace(refused, reason=found.reason, needs=found.needs)
        if not found.needs:
            return refused, memory
        demand = Demand(expect_person_id=person.person_id) if Method.FACE in found.needs else None
        return replace(refused, demand=demand), remembered.remember(memory, proof)
    refused = replace(refused, rule_id=found.rule.rule_id)
    return _entitled(refused, person, found.rule, proof, rules, memory, now, scene)


def _entitled(refused: Decision, person: Person, rule: AccessRule, proof: Shown, rules: Rules, memory: Memory,
              now: Now, scene: Scene) -> tuple[Decision, Memory]:
    """A rule admits; what else stands in the way?"""
    direction = refused.claim.direction if refused.claim is not None else Direction.ENTRY
    verdict = passback(rule.passback, direction, rules, scene, now)
    if verdict is Verdict.REFUSED:
        return replace(refused, reason="passback"), memory
    if is_full(direction, rules, scene):
        return replace(refused, reason="area_full"), memory
    memory = remembered.without(memory, person.person_id)
    together = party(person, rule, memory) if direction is Direction.ENTRY else Party()
    if together.reason:
        return (replace(refused, reason=together.reason),
                waits(person, rule, rules.site, memory, now, proof.is_duress))
    is_duress = proof.is_duress or any(one.is_duress for one in together.others)
    alarms = (("duress",) if is_duress else ()) + (("passback_violated",) if verdict is Verdict.NOTED else ())
    granted = replace(
        refused, granted=True, reason=_granted(proof, direction), release_s=_release_s(person, rule, rules.site),
        area=area_after(direction, rules), opens=_opened(person, direction, rules, now), alarms=alarms,
        companions=tuple(one.person_id for one in together.others))
    return granted, passes(person, together.others, rules.site, memory, now)


def _proof(claim: Claim, person: Person, site: Site, memory: Memory, now: Now) -> Shown:
    """Everything that this person has shown up to now."""
    proof = Shown(person.person_id, claim.methods, now.mono + site.combine_s, claim.is_duress)
    earlier = next((shown for shown in memory.shown if shown.person_id == person.person_id), None)
    if earlier is None:
        return proof
    both, is_duress = claim.methods | earlier.methods, claim.is_duress or earlier.is_duress
    return replace(proof, methods=both, is_duress=is_duress)


def _barred(claim: Claim, person: Person, proof: Shown, rules: Rules, memory: Memory, now: Now, scene: Scene) -> str:
    """Why no rule need be asked; "" where one must be."""
    if _is_guess_locked(claim, proof, memory):
        return "locked_out"
    if claim.qr_pass is not None and (reason := _pass_verdict(claim.qr_pass, rules, scene)):
        return reason
    return validity(person, now) if claim.direction is Direction.ENTRY else ""


def _is_guess_locked(claim: Claim, proof: Shown, memory: Memory) -> bool:
    """The face is locked out only where nothing else was shown; a card, PIN or pass always."""
    key = _GUESSES.get(claim.methods)
    is_alone = claim.methods != _FACE or proof.methods == _FACE
    return key is not None and is_alone and remembered.is_locked(memory, key)


# --- passes ----------------------------------------------------------------------------------------------


def _holder(claim: Claim, person: Person | None) -> Person | None:
    """Who holds a pass: the person it names, where this terminal knows them, else a visitor; for as long as it says,
    and with a share in its group's rules."""
    shown = claim.qr_pass
    if shown is None or claim.person_id is None:
        return person
    if person is None:
        return Person(claim.person_id, "", (shown.group,), PersonClass.VISITOR, shown.valid_from, shown.valid_until)
    begins = shown.valid_from if person.valid_from is None else max(person.valid_from, shown.valid_from)
    ends = shown.valid_until if person.valid_until is None else min(person.valid_until, shown.valid_until)
    return replace(person, groups=tuple(dict.fromkeys((*person.groups, shown.group))), valid_from=begins,
                   valid_until=ends)


def _pass_verdict(shown: PassFacts, rules: Rules, scene: Scene) -> str:
    if shown.door_id != rules.site.door_id:
        return "pass_elsewhere"
    if shown.pass_id in rules.revoked:
        return "pass_revoked"
    return "pass_used" if shown.is_once and scene.is_pass_used else ""


# --- grants ----------------------------------------------------------------------------------------------


def _granted(proof: Shown, direction: Direction) -> str:
    return "exit_granted" if direction is Direction.EXIT else _GRANTED.get(proof.methods, "combined_granted")


def _release_s(person: Person, rule: AccessRule, site: Site) -> float:
    seconds = rule.release_s if rule.release_s is not None and rule.release_s > 0 else site.release_s
    return max(seconds, site.release_accessible_s) if person.person_class is PersonClass.ACCESSIBLE else seconds


def _opened(person: Person, direction: Direction, rules: Rules, now: Now) -> tuple[str, ...]:
    """The plans that wait for such a first person and whose schedule is active."""
    waiting = [one for one in rules.own_plans if one.first_group is not None and one.first_group in person.groups]
    if not waiting or direction is Direction.EXIT:
        return ()
    moment = moment_at(rules, now)
    return tuple(one.plan_id for one in waiting if not schedule_verdict(one.schedule_id, rules, moment))

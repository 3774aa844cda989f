"""What the machine writes into the journal and what stands on the lamp: words for its state and decisions. Pure."""

from __future__ import annotations

from dataclasses import replace

from device.door.decision import Decision
from device.door.reasons import Plain, entry
from device.door.types import DoorState, Grantee, Mode, Note, Phase
from device.store.records import Direction, UsedPass


def standing(state: DoorState) -> str:
    """The reason whose lamp and sound stay on while nothing momentary is shown."""
    order = (
        (state.is_fire, "fire_free"),
        (state.is_tampered, "tamper"),
        (state.phase is Phase.FORCED, "forced_open"),
        (state.phase is Phase.HELD, "held_open"),
        (state.is_held_warned, "held_warning"),
        (state.mode is Mode.LOCKDOWN, "mode_lockdown"),
        (state.mode is Mode.FREE, "mode_free"),
    )
    return next((reason for holds, reason in order if holds), "ready")


def note(code: str, person_id: str | None = None, /, **detail: Plain) -> Note:
    return Note(entry(code, person_id, **detail))


def decision_note(decision: Decision, code: str, is_merged: bool | None = None) -> Note:
    claim = decision.claim
    if claim is None:
        return note(code, decision.person_id, rule=decision.rule_id, merged=is_merged)
    uses = used_pass(decision) if code == decision.reason else None
    return replace(note(
        code,
        decision.person_id,
        methods="+".join(sorted(method.value for method in decision.methods or claim.methods)),
        rule=decision.rule_id,
        score=_rounded(claim.score),
        threshold=_rounded(claim.threshold),
        margin=_rounded(claim.margin),
        model=claim.model_id or None,
        frames=claim.frames or None,
        track=claim.track_id,
        species=claim.species or None,
        judges=claim.judges or None,
        reader=claim.reader if claim.reader != "camera" else None,
        qr_pass=claim.qr_pass.pass_id if claim.qr_pass is not None else None,
        company=" ".join(decision.companions) or None,
        merged=is_merged,
    ), uses=uses)


def used_pass(decision: Decision) -> UsedPass | None:
    """The pass that is used up by an admission."""
    shown = decision.claim.qr_pass if decision.claim is not None else None
    if not decision.granted or shown is None or not shown.is_once:
        return None
    return UsedPass(shown.pass_id, shown.valid_until)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def entries(grantees: tuple[Grantee, ...]) -> tuple[Note, ...]:
    return tuple(note("entered" if one.direction is Direction.ENTRY else "left", one.person_id,
                       area=one.area or None) for one in grantees)

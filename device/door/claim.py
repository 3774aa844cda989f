"""Sightings as claims: what vision concluded, said as the policy hears it. Pure; called by the door thread."""

from __future__ import annotations

from device.door.decision import Claim
from device.sighting import Judgement, Outcome, Sighting
from device.store.records import Method

_FACE = frozenset({Method.FACE})
_NOBODY = {Outcome.ATTACK: "attack", Outcome.UNPROVED: "not_proved"}


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

"""Sightings as claims: what vision concluded, said as the policy hears it. Pure; called by the door thread."""

from __future__ import annotations

from dataclasses import dataclass

from device.door.decision import Claim
from device.sighting import Judgement, Outcome, Sighting
from device.store.records import Method

SPECIES = ("print", "screen")
"""Words of the judges that name an attack species; with any other word they say what gave it away ("flat",
"border"), and the species stays unknown."""

UNKNOWN = "unknown"
PASSIVE = "passive"
_FACE = frozenset({Method.FACE})
_NOBODY = {Outcome.ATTACK: "attack", Outcome.UNPROVED: "not_proved"}


@dataclass(frozen=True, slots=True)
class FaceClaim(Claim):
    """A claim by a face.

    frame_seq   the newest frame that it rests on
    live_score  of the passive networks, None where they have not spoken
    exposure    mean grey level of the face, 0..1
    """

    frame_seq: int = 0
    live_score: float | None = None
    exposure: float | None = None


def claim_from(sighting: Sighting) -> FaceClaim | None:
    """What a sighting claims; None while vision is still looking or the picture is too poor to say anything."""
    if sighting.outcome in (Outcome.POOR, Outcome.PENDING):
        return None
    is_known = sighting.outcome is Outcome.KNOWN
    return FaceClaim(
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
        species=species_of(sighting.judgements) if sighting.outcome is Outcome.ATTACK else "",
        judges=" ".join(_words(one) for one in sighting.judgements),
        frame_seq=sighting.frame_seq,
        live_score=next((one.score for one in sighting.judgements if one.judge == PASSIVE), None),
        exposure=sighting.exposure,
    )


def species_of(judgements: tuple[Judgement, ...]) -> str:
    """The attack species: "print" or "screen" where a judge can tell, by the surest one; else "unknown"."""
    named = [one for one in judgements if one.score is not None and one.reason in SPECIES]
    surest = min(named, key=lambda one: one.score or 0.0, default=None)
    return surest.reason if surest is not None else UNKNOWN


def _words(judgement: Judgement) -> str:
    """`passive=0.03:print`, `border=no_border`: the score with what the judge saw, or why it has none."""
    if judgement.score is None:
        return f"{judgement.judge}={judgement.reason or 'abstains'}"
    return f"{judgement.judge}={judgement.score:.2f}" + (f":{judgement.reason}" if judgement.reason else "")

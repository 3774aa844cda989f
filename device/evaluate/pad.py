"""Error rates of presentation attack detection, in the terms of ISO/IEC 30107-3.

APCER of a species is the share of its attacks that pass as live faces; the worst species is the headline, because an
attacker chooses. BPCER is the share of live presentations taken for attacks. Both are of the presentations that were
answered; what the terminal does not answer is the non-response rate (APNRR, BPNRR), and never a pass. A clip in which
the terminal said both at different moments counts as an error whichever it shows.
Called by `doorctl evaluate pad`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from device.errors import ModelMismatch, PictureRefused
from device.evaluate.inputs import Presentation, Remarks
from device.evaluate.intervals import Interval, share_interval, wilson
from device.evaluate.metrics import Tally, tally
from device.evaluate.presentations import Answer, answers
from device.face.card import Card
from device.sighting import Level

Judged = tuple[Presentation, Answer]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of presentations judged wrongly; None where none was answered.

    presented   how many there were, `answered` of them with an answer
    """

    presented: int
    answered: int
    wrong: int
    span: Interval | None

    @property
    def share(self) -> float | None:
        return self.wrong / self.answered if self.answered else None

    @property
    def non_response(self) -> float | None:
        return 1.0 - self.answered / self.presented if self.presented else None


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """The result of one run.

    bona_fide   BPCER
    species     APCER of each attack species
    stills, passive_only  presentations that were stills, and answers in which the passive verdict stood alone
    live, attacks  scores of the passive networks, 0 where another judge has convicted: of live faces, and of the
                attacks of each species
    reasons     how often each was the reason for no answer
    """

    bona_fide: Rate
    species: dict[str, Rate]
    auc: float | None
    presented: int
    stills: int
    passive_only: int
    live: tuple[float, ...] = ()
    attacks: dict[str, tuple[float, ...]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def scores(self) -> Tally:
        """Live faces as genuine, attacks of all species as impostor."""
        return tally(self.live, [score for scores in self.attacks.values() for score in scores])

    @property
    def abstained(self) -> int:
        return sum(rate.presented - rate.answered for rate in (self.bona_fide, *self.species.values()))

    @property
    def worst(self) -> tuple[str, Rate] | None:
        """The species with the highest APCER, and its rate."""
        known = [(name, rate) for name, rate in self.species.items() if rate.share is not None]
        return max(known, key=lambda entry: entry[1].share or 0.0, default=None)


def detect_attacks(rows: Sequence[Presentation], root: Path, card: Card, level: Level, remarks: Remarks) -> Detection:
    """Shows every presentation to the judges of `level`.

    ModelMismatch where the pack has no passive networks, PictureRefused where nothing could be read.
    """
    if card.passive is None:
        raise ModelMismatch(f"pack {card.name} has no passive liveness networks, which judge recorded pictures; run "
                            "`doorctl models build`, and see there what is missing")
    judged = answers(rows, root, card, level, remarks)
    if not judged:
        raise PictureRefused("not one of the presentations could be read; check --images")
    return figures_of(judged)


def figures_of(judged: Sequence[Judged]) -> Detection:
    """The rates of what was answered."""
    live = [entry for entry in judged if not entry[0].is_attack]
    attacks = [entry for entry in judged if entry[0].is_attack]
    by_species = {name: [entry for entry in attacks if entry[0].species == name]
                  for name in sorted({row.species for row, _ in attacks})}
    reasons: dict[str, int] = {}
    for _, answer in judged:
        if not answer.is_answered:
            reasons[answer.reason] = reasons.get(answer.reason, 0) + 1
    return Detection(
        bona_fide=_rate(live), species={name: _rate(entries) for name, entries in by_species.items()},
        auc=auc(_scores(live), _scores(attacks)), presented=len(judged),
        stills=sum(row.is_still for row, _ in judged),
        passive_only=sum(answer.is_passive for _, answer in judged if answer.is_answered),
        live=tuple(_scores(live)), attacks={name: tuple(_scores(entries)) for name, entries in by_species.items()},
        reasons=reasons)


def auc(live: Sequence[float], attacks: Sequence[float]) -> float | None:
    """The chance that a live presentation scores higher than an attack, ties counted half; None without either."""
    if not live or not attacks:
        return None
    ordered = np.sort(np.asarray(attacks))
    below = np.searchsorted(ordered, live, side="left") + np.searchsorted(ordered, live, side="right")
    return float(below.mean() / (2 * len(ordered)))


def _scores(judged: Sequence[Judged]) -> list[float]:
    return [answer.score for _, answer in judged if answer.score is not None]


def _rate(judged: Sequence[Judged]) -> Rate:
    answered = [(row, _is_wrong(row, answer)) for row, answer in judged if answer.is_answered]
    is_wrong = np.array([wrong for _, wrong in answered], np.bool_)
    return Rate(len(judged), len(answered), int(is_wrong.sum()), _interval(is_wrong, [row for row, _ in answered]))


def _is_wrong(row: Presentation, answer: Answer) -> bool:
    return answer.is_accepted if row.is_attack else answer.is_convicted


def _interval(is_wrong: np.ndarray[tuple[int], np.dtype[np.bool_]], rows: Sequence[Presentation]) -> Interval | None:
    """People are drawn again where the list says who they are; else every presentation counts as independent."""
    if len(rows) == 0 or not all(row.subject for row in rows):
        return wilson(float(is_wrong.sum()), len(rows))
    numbers = {subject: number for number, subject in enumerate(sorted({row.subject for row in rows}))}
    return share_interval(is_wrong, np.array([numbers[row.subject] for row in rows], np.int64))

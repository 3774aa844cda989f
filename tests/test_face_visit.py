"""How often one track is looked at again: by the recogniser, and by the judges of liveness."""

from __future__ import annotations

import pytest

from device.face.evidence import Evidence, Verdict
from device.face.liveness import Liveness
from device.face.visit import REJUDGE, SETTLED, Visit
from device.sighting import Demand, Level, Outcome

LIVE, HIGH = Liveness(), Demand(Level.HIGH)


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(outcome)


def settled(outcome: Outcome = Outcome.KNOWN, is_bound: bool = True) -> Visit:
    """A visit that the judges have been content with on frames 0 to SETTLED."""
    visit = Visit(Evidence(2, 3, 0.0), 1, verdict=verdict(outcome), is_bound=is_bound)
    for seq in range(SETTLED + 1):
        visit.note(LIVE, seq, Demand())
    return visit


def test_judges_who_are_content_look_at_every_third_frame() -> None:
    visit, looked = settled(), []
    for seq in range(SETTLED + 1, SETTLED + 10):
        if visit.is_judging_due(seq, Demand(), is_read=False):
            visit.note(LIVE, seq, Demand())
            looked.append(seq - SETTLED)
    assert looked == [3, 6, 9]


def test_a_frame_that_is_read_is_rather_left_to_the_recogniser_and_the_next_one_judged() -> None:
    visit = settled()
    assert not visit.is_judging_due(SETTLED + REJUDGE, Demand(), is_read=True)
    assert visit.is_judging_due(SETTLED + REJUDGE + 1, Demand(), is_read=True)


@pytest.mark.parametrize("said", [Outcome.PENDING, Outcome.ATTACK])
def test_doubt_has_the_judges_look_at_every_frame_again(said: Outcome) -> None:
    visit = settled()
    visit.note(Liveness(said), SETTLED + 3, Demand())
    assert visit.is_judging_due(SETTLED + 4, Demand(), is_read=True)
    visit.note(LIVE, SETTLED + 4, Demand())
    assert visit.is_judging_due(SETTLED + 5, Demand(), is_read=True)


def test_another_question_is_judged_at_once() -> None:
    visit = settled()
    assert visit.is_judging_due(SETTLED + 1, HIGH, is_read=True)
    visit.note(LIVE, SETTLED + 1, HIGH)
    assert visit.is_judging_due(SETTLED + 2, HIGH, is_read=True)


def test_a_known_face_is_judged_on_the_frame_that_binds_it_and_a_stranger_may_wait() -> None:
    assert settled(is_bound=False).is_judging_due(SETTLED + 1, Demand(), is_read=True)
    assert not settled(Outcome.UNKNOWN, is_bound=False).is_judging_due(SETTLED + 1, Demand(), is_read=True)
    unread = settled()
    unread.verdict = None
    assert unread.is_judging_due(SETTLED + 1, Demand(), is_read=False)


@pytest.mark.parametrize(("outcome", "is_bound", "every"), [(Outcome.KNOWN, True, 10), (Outcome.KNOWN, False, 3),
                                                           (Outcome.UNKNOWN, False, 3), (Outcome.PENDING, False, 1)])
def test_the_recogniser_looks_again_the_sooner_the_less_is_settled(outcome: Outcome, is_bound: bool,
                                                                   every: int) -> None:
    visit = Visit(Evidence(2, 3, 0.0), 1, verdict=verdict(outcome), read_seq=100, is_bound=is_bound)
    assert not visit.is_read_due(100 + every - 1) or every == 1
    assert visit.is_read_due(100 + every)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.face.evidence import CLEARLY_BELOW, Evidence
from device.face.match import Match
from device.face.threshold import Threshold
from device.face.types import Candidate
from device.sighting import Outcome

LEVEL = 0.6


def seen(person, score=0.8, other="q", other_score=0.3):
    second = None if other is None else Candidate(other, "t2", other_score)
    return Match(Candidate(person, "t1", score), second)


def nobody(score=0.55):
    return seen("p", score)


def run(frames, every_s=0.1, **settings_):
    evidence = Evidence(**settings_)
    return [evidence.add(frame, LEVEL, i * every_s) for i, frame in enumerate(frames)]


def outcomes(frames, **settings_):
    return [verdict.outcome.name for verdict in run(frames, **settings_)]


def test_three_frames_that_agree_make_a_person_known():
    verdicts = run([seen("p"), seen("p", 0.7), seen("p", 0.75)])
    assert [verdict.outcome.name for verdict in verdicts] == ["PENDING", "PENDING", "KNOWN"]
    assert [verdict.person_id for verdict in verdicts] == [None, None, "p"]
    assert (verdicts[2].score, verdicts[2].frames, verdicts[2].threshold) == (0.75, 3, LEVEL)
    assert verdicts[2].margin == pytest.approx(0.45)


def test_one_lucky_frame_opens_nothing():
    assert outcomes([nobody(), nobody(), seen("p", 0.99), nobody(), nobody()])[-1] == "UNKNOWN"


def test_a_person_is_unknown_only_after_all_frames():
    assert outcomes([nobody()] * 6) == ["PENDING"] * 4 + ["UNKNOWN"] * 2


def test_a_person_who_is_clearly_nobody_is_unknown_sooner():
    far = LEVEL - CLEARLY_BELOW - 0.01
    assert outcomes([nobody(far)] * 4) == ["PENDING", "PENDING", "UNKNOWN", "UNKNOWN"]
    assert outcomes([nobody(far), nobody(far), nobody()])[-1] == "PENDING"
    assert outcomes([Match()] * 3)[-1] == "UNKNOWN"


def test_whoever_was_unknown_may_still_become_known():
    assert outcomes([nobody()] * 5 + [seen("p")] * 3)[-2:] == ["UNKNOWN", "KNOWN"]


def test_the_newest_frame_must_be_one_of_those_that_agree():
    assert outcomes([seen("p")] * 3 + [nobody()]) == ["PENDING", "PENDING", "KNOWN", "PENDING"]


def test_two_persons_on_one_track_are_never_mixed():
    assert outcomes([seen("p"), seen("r"), seen("p"), seen("r"), seen("p")])[-1] == "UNKNOWN"
    swapped = outcomes([seen("p")] * 3 + [seen("r")] * 5)
    assert swapped == ["PENDING", "PENDING", "KNOWN", "PENDING", "UNKNOWN", "UNKNOWN", "UNKNOWN", "KNOWN"]


def test_without_a_margin_over_the_second_person_nobody_is_known():
    twins = seen("p", 0.80, "q", 0.76)
    assert outcomes([twins] * 5)[-1] == "UNKNOWN"
    assert outcomes([twins] * 3, margin=0.03)[-1] == "KNOWN"
    assert outcomes([seen("p", other=None)] * 3)[-1] == "KNOWN"


def test_old_frames_no_longer_count():
    evidence = Evidence()
    evidence.add(seen("p"), LEVEL, 0.0)
    evidence.add(seen("p"), LEVEL, 1.0)
    assert evidence.add(seen("p"), LEVEL, 5.5).outcome is Outcome.PENDING
    assert evidence.add(seen("p"), LEVEL, 5.6).outcome is Outcome.KNOWN


def test_a_raised_threshold_holds_for_frames_already_seen():
    evidence = Evidence()
    evidence.add(seen("p", 0.61), 0.6, 0.0)
    evidence.add(seen("p", 0.61), 0.6, 0.1)
    assert evidence.add(seen("p", 0.8), 0.7, 0.2).outcome is Outcome.PENDING


def test_a_threshold_may_come_with_its_reasons():
    verdict = Evidence(agree=1, of=1).add(seen("p"), Threshold(0.79, 1e-5, 1e-3, True, ""), 0.0)
    assert (verdict.outcome, verdict.threshold) == (Outcome.KNOWN, 0.79)


def test_against_a_cards_holder_only_the_holder_counts():
    holder = [Match(Candidate("p", "t", 0.8))] * 3
    assert outcomes(holder, expect_person_id="p")[-1] == "KNOWN"
    assert outcomes(holder, expect_person_id="r") == ["PENDING"] * 3
    assert outcomes([seen("q")] * 5, expect_person_id="p")[-1] == "UNKNOWN"


def test_tracks_share_nothing():
    one, other = Evidence(), Evidence()
    for i in range(2):
        one.add(seen("p"), LEVEL, i)
        other.add(seen("p"), LEVEL, i)
    assert Evidence().add(seen("p"), LEVEL, 2).outcome is Outcome.PENDING
    assert one.add(seen("p"), LEVEL, 2).outcome is Outcome.KNOWN


@pytest.mark.parametrize(("agree", "of"), [(0, 3), (4, 3), (-1, 1)])
def test_a_rule_that_cannot_hold_is_refused(agree, of):
    with pytest.raises(ValueError, match="cannot agree"):
        Evidence(agree, of)


a_score = st.one_of(st.floats(0.3, 0.9), st.just(LEVEL), st.just(float("nan")))
frames = st.lists(st.one_of(
    st.just(Match()),
    st.builds(seen, st.sampled_from("pqr"), a_score, st.none() | st.sampled_from("xyz"), st.floats(0.0, 0.3)),
    st.builds(lambda person, score, gap: seen(person, score, "x", score - gap), st.sampled_from("pqr"), a_score,
              st.floats(0, 0.1)),
), max_size=20)


@settings(max_examples=150, deadline=None)
@given(frames, st.integers(1, 5), st.integers(0, 5), st.floats(0, 0.2))
def test_nobody_is_known_against_the_rule(history, agree, more, margin):
    evidence = Evidence(agree, agree + more, margin)
    for i, frame in enumerate(history):
        verdict = evidence.add(frame, LEVEL, i / 100)
        window = history[max(0, i + 1 - agree - more) : i + 1]
        named = [m.best.person_id for m in window
                 if m.best and m.best.score >= LEVEL and (m.other is None or m.best.score - m.other.score >= margin)]
        if verdict.outcome is Outcome.KNOWN:
            assert verdict.person_id == frame.best.person_id
            assert len(named) >= agree
            assert set(named) == {verdict.person_id}
        else:
            assert verdict.person_id is None
            assert not (len(named) == len(window) >= agree and len(set(named)) == 1)
        if verdict.outcome is Outcome.UNKNOWN:
            assert len(window) >= agree

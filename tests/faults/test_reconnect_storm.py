"""Five hundred terminals whose broker comes back after a while: by the law of their pauses, as it is in the code,
they do not come all at once. The connections themselves are not made here.
"""

from __future__ import annotations

from collections import Counter

import pytest
from fault_figures import Figure

from device.clock import HandClock
from sync.agent.link import Backoff

TERMINALS = 500
MOST_A_SECOND = 50
ALL_WITHIN_S = 120


def moments(away_s: float) -> list[float]:
    """When each terminal is back, in seconds after the broker is, which was away for so long."""
    found = []
    for _ in range(TERMINALS):
        clock = HandClock(mono=0.0)
        backoff = Backoff(clock)
        while clock.mono() < away_s:
            clock.advance(backoff.failed())
        found.append(clock.mono() - away_s)
    return found


@pytest.mark.parametrize("away_s", [120.0, 600.0, 3600.0])
def test_five_hundred_terminals_do_not_come_back_all_at_once(away_s: float, figure: Figure) -> None:
    back = moments(away_s)
    most = max(Counter(int(moment) for moment in back).values())
    assert most <= MOST_A_SECOND
    assert max(back) <= ALL_WITHIN_S
    figure("F22", f"{TERMINALS} terminals after {away_s / 60:g} min without their broker: at most {most} a second, "
                  f"all back after {max(back):.0f} s")

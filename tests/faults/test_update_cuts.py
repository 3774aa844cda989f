"""An update cut off at any step and at any change of the card: the old release or the new one is whole, and starts.

DOOR_KILLS sets how many times it is cut off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_figures import Figure

CUTS = int(os.environ.get("DOOR_KILLS", "20"))
HERE = Path(__file__).resolve().parent.parent


@pytest.mark.timeout(120 + 3 * CUTS)
def test_an_update_that_is_cut_off_anywhere_leaves_a_whole_release_and_can_be_done_again(tmp_path: Path,
                                                                                         figure: Figure) -> None:
    done = subprocess.run([sys.executable, HERE / "update_cuts.py", tmp_path, str(CUTS), "20261124"],
                          capture_output=True, text=True, check=False, timeout=110 + 3 * CUTS)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    told = found["told"]
    ways = {way: told.get(way, 0) for way in ("killed at a step", "killed at a change", "without power",
                                              "killed from outside")}
    assert sum(ways.values()) >= CUTS
    assert ways["without power"] > CUTS // 5
    assert told["left 1.0.0"] > 0
    assert CUTS < 100 or (told["left 1.1.0"] > 0 and all(ways.values()))
    figure("F55", f"{sum(ways.values())} cuts of an update: 0 unbootable; {told['left 1.0.0']} left the old release, "
                  f"{told.get('left 1.1.0', 0)} the new one")

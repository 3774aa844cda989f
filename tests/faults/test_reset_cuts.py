"""A factory reset that is cut off anywhere: out of service until it is finished, and never back with old data.

Every change of the card is cut once; DOOR_KILLS sets how many resets more are cut by chance.
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
def test_a_factory_reset_that_is_cut_off_anywhere_never_lets_old_data_back_into_service(tmp_path: Path,
                                                                                            figure: Figure) -> None:
    done = subprocess.run([sys.executable, HERE / "reset_cuts.py", tmp_path, str(CUTS), "20261128"],
                          capture_output=True, text=True, check=False, timeout=110 + 3 * CUTS)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    told = found["told"]
    assert told["killed at a change"] >= found["changes"] > 50
    assert CUTS < 20 or (told["without power"] > CUTS // 10 and told["killed from outside"] > 0)
    assert told["left out of service"] > told.get("left as it was", 0) > 0
    cut = sum(told.get(way, 0) for way in ("killed at a change", "without power", "killed from outside"))
    figure("F56", f"{cut} cuts, among them each of {found['changes']} changes: 0 back in service with old data")

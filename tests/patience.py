"""How many times as long things may take here as elsewhere: DOOR_SLOWER, for an emulated machine."""

from __future__ import annotations

import os

SLOWER = float(os.environ.get("DOOR_SLOWER", "1"))

"""As `door_child`, but its vision never comes back once a file is there: `hung_child.py SOCKET PICTURE FILE HOW`.

HOW is `free` for a call that lets the rest of the process run, `held` for one that holds the interpreter. The moment
(monotonic seconds) is written into the file.
"""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path
from typing import Any

import door_child

from device.face.pipeline import Pipeline

FOR_EVER_S = 3600


def main() -> None:
    file, call = Path(sys.argv[3]), {"free": ctypes.CDLL, "held": ctypes.PyDLL}[sys.argv[4]](None).sleep
    real = Pipeline.look

    def look(pipeline: Pipeline, *given: Any, **more: Any) -> Any:
        if file.exists():
            file.write_text(str(time.monotonic()), encoding="ascii")
            call(FOR_EVER_S)
        return real(pipeline, *given, **more)

    Pipeline.look = look  # type: ignore[method-assign]
    door_child.main()


if __name__ == "__main__":
    main()

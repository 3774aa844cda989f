"""Daemons started again and again without the second that their imports take: one process holds the imports, and
each daemon is a fork of it. `python nursery.py MODULE` is that process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

DOORD, SYNCD = "device.app", "sync.agent.main"


class Nursery:
    """One daemon at a time."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, module], env=dict(environment), text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, arguments: list[str], said: Path, **environment: str) -> int:
        """The pid of the daemon's process; all that it writes goes into the file."""
        return self._ask(json.dumps({"arguments": arguments, "said": str(said), "environment": environment}))

    def ended(self) -> int:
        """Its exit code, as subprocess has it, once it has ended."""
        return os.waitstatus_to_exitcode(self._ask(""))

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
        self.close()

    def _ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    if sys.argv[1] == SYNCD:
        sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]  # as `sync.agent.start` has it
    run = importlib.import_module(sys.argv[1]).main
    for line in sys.stdin:
        wanted = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            said = os.open(wanted["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.environ.update(wanted["environment"])
            sys.exit(run(wanted["arguments"]))
        tell(child)
        sys.stdin.readline()
        tell(os.waitpid(child, 0)[1])


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

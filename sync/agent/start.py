"""What the command `door-syncd` starts: `main`, without what it does not need."""

from __future__ import annotations

import sys


def main() -> int:
    """As `sync.agent.main.main`."""
    # sqlite-utils takes in numpy where it finds it, only to know its types: 12 of the 80 MB that this process may
    # use.
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]
    from sync.agent.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())

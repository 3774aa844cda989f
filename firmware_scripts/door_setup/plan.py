"""A plan: steps with reasons, each of which knows whether it is done already.

Every script builds one and has it carried out, so that all of them can be tried with `--dry-run` and run twice.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


class Stop(Exception):
    """Nothing more can be done; the message is one line that says what the person must do."""

    exit_code = 1


class WrongUsage(Stop):
    """The arguments or the configuration cannot work."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Step:
    """what   in the imperative: "switch current to 0.1.0"
    why      the reason, for whoever reads the plan
    is_done  whether there is nothing to do; asked right before, and by --dry-run
    act      do it; what it returns is of no interest
    is_look  it only looks, and changes nothing
    """

    what: str
    why: str
    is_done: Callable[[], bool]
    act: Callable[[], object]
    is_look: bool = False


def carry_out(steps: Iterable[Step], is_dry_run: bool) -> int:
    """Do what is not done yet, a line each; how many steps changed something, or would have."""
    changed = total = 0
    for step in steps:
        if step.is_look:
            print(f"  look  {step.what}: {step.why}", flush=True)
            if not is_dry_run:
                step.act()
            continue
        total += 1
        if step.is_done():
            print(f"  is    {step.what}")
            continue
        changed += 1
        print(f"  {'would' if is_dry_run else 'do   '} {step.what}: {step.why}", flush=True)
        if not is_dry_run:
            step.act()
    print(f"{changed} of {total} steps would change something" if is_dry_run else
          f"{changed} of {total} steps changed something" if changed else "nothing to change")
    return changed


def never_done() -> bool:
    """For steps that must be done each time."""
    return False


def guarded(name: str, body: Callable[[], int]) -> int:
    """Run a script's body; its trouble becomes one line on stderr and an exit code."""
    try:
        return body()
    except Stop as stop:
        print(f"{name}: {stop}", file=sys.stderr)
        return stop.exit_code
    except OSError as error:
        what = error.filename if error.filename is not None else "this machine"
        print(f"{name}: {what}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted; run it again to go on", file=sys.stderr)
        return 130


def run(command: Sequence[str | Path], *, data: bytes | None = None, environment: dict[str, str] | None = None,
        is_shown: bool = False) -> bytes:
    """What the command writes to stdout; Stop with the last line that it said where it fails.

    is_shown  its output goes to the terminal, for what takes long; nothing is returned then
    """
    words = [str(word) for word in command]
    pipe = None if is_shown else subprocess.PIPE
    try:
        done = subprocess.run(words, input=data, env=environment, stdout=pipe, stderr=pipe, check=False)
    except FileNotFoundError:
        raise Stop(f"{words[0]} is missing; install the Debian package that has it") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout or b"").decode(errors="replace").strip().splitlines()
        raise Stop(f"`{' '.join(words)[:200]}` failed with {done.returncode}"
                   + (f": {said[-1][:300]}" if said else "; see above"))
    return done.stdout or b""

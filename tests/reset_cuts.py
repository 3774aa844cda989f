"""Factory resets that are cut off, again and again: `python reset_cuts.py FOLDER CUTS SEED`, in a process of its own.

Each round has a terminal with people, events, keys and a hub. A forked child resets it, and is killed at a change of
the card, left without power at one, or killed from outside at some moment; the machine starts again and goes on,
perhaps to be cut off again. First every change of one reset is cut at once, and the power goes when one has just
ended; then CUTS rounds are cut by chance. After each cut the terminal must be as it was, or out of service, or as
new; in the end it is as new.

Prints how often it was cut, in which way, and what the cuts left, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from firmware_tree import KEY, SECRET, lived_in
from update_disk import ForgetfulDisk, seen

from door_setup import factory_reset  # isort: skip

FLAG = "var/lib/door/.resetting"
AFTER_THE_END = 5
WAYS = ("killed at a change", "without power", "killed from outside")


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut to come: at the so-many-th change of the card, or after so many seconds, as the way has it."""

    way: str
    change: int
    after_s: float
    seed: int


class Terminal:
    """One terminal with a past, in a folder of its own."""

    def __init__(self, root: Path) -> None:
        shutil.rmtree(root, ignore_errors=True)
        lived_in(root)
        self._root, self._before = root, seen(root)

    def start(self, cut: Cut | None = None) -> int:
        """The machine starts: a reset that was begun goes on, else somebody asks for one. 0 where it came to its end,
        the count of changes where it was to be counted, -1 where it was cut off."""
        reading, writing = os.pipe()
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._live(cut, writing)
        os.close(writing)
        with open(reading, "rb") as pipe:
            if cut is not None and cut.way == "killed from outside":
                pipe.readline()
                time.sleep(max(0.0, cut.after_s - (time.monotonic() - begun)))
                os.kill(child, signal.SIGKILL)
            lines = pipe.read().split()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"a reset failed by itself: {cut}"
        return -1 if os.WIFSIGNALED(status) else int(lines[-1])

    def state(self) -> str:
        """What a cut has left; AssertionError where old people could be let in, or people by halves."""
        if (self._root / FLAG).exists():
            return "out of service"
        if self._before.items() <= seen(self._root).items():
            return "as it was"
        self.check_as_new()
        return "as new"

    def check_as_new(self) -> None:
        now = seen(self._root)
        telling = [str(path) for path, node in now.items() if SECRET in node.data]
        assert not telling, f"of the old terminal there is still {telling}"
        key = now.get(self._root / KEY)
        assert key is not None and len(key.data) == 32 and not (self._root / FLAG).exists()

    def _live(self, cut: Cut | None, writing: int) -> None:
        """The child's whole life."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        changes = 0

        def tick() -> None:
            nonlocal changes
            changes += 1
            if cut is not None and cut.way != "killed from outside" and changes == cut.change:
                if cut.way == "without power":
                    disk.cut()
                os.kill(os.getpid(), signal.SIGKILL)

        disk = ForgetfulDisk(self._root, random.Random(cut.seed if cut else 0), tick)
        disk.insert()
        os.write(writing, b"begin\n")
        how = "--resume" if (self._root / FLAG).exists() else "--yes"
        code = 1
        try:
            code = factory_reset.main([how, "--root", str(self._root)])
            while cut is not None and cut.way == "without power":
                tick()  # one that is still to come comes after the end
        finally:
            os.write(writing, f"{changes}\n".encode())
            os._exit(code)


def main(folder: Path, cuts: int, seed: int) -> int:
    chance, told, root = random.Random(seed), Counter[str](), folder / "terminal"
    begun = time.monotonic()
    changes = Terminal(root).start()
    whole_s = time.monotonic() - begun
    for change in range(1, changes + 1):
        _round(root, [Cut("killed at a change", change, 0.0, 0)], told)
    for fate in range(AFTER_THE_END):
        _round(root, [Cut("without power", changes + 1, 0.0, fate)], told)
    for _ in range(cuts):
        _round(root, [Cut(chance.choice(WAYS), chance.randrange(1, changes + 1), chance.uniform(0.0, whole_s),
                          chance.randrange(1 << 30)) for _ in range(chance.choice((1, 1, 2, 3)))], told)
    sys.stdout.write(json.dumps({"changes": changes, "told": told}))
    return 0


def _round(root: Path, cuts: list[Cut], told: Counter[str]) -> None:
    terminal = Terminal(root)
    for cut in cuts:
        told[cut.way if terminal.start(cut) < 0 else "came to its end"] += 1
        told[f"left {terminal.state()}"] += 1
    terminal.start()
    terminal.check_as_new()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

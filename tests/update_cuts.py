"""Updates that are cut off, again and again: `python update_cuts.py FOLDER CUTS SEED`, in a process of its own.

A round begins with release 1.0.0 and a bundle of 1.1.0. A forked child updates, judges or goes back, and is cut off:
killed at a step, killed at a change of the card, left without power at one, or killed from outside at some moment
while a real virtual environment is made. The machine starts again, perhaps to be cut off again. After every cut the
release that would start must be whole, file by file; in the end the new one must run, with nothing left of the cuts.

Prints how often it was cut and in which way, after which steps, and which release a cut left, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from update_disk import ForgetfulDisk
from update_samples import Bench, tiny_bundle

from device.update.outcome import Result
from device.update.slots import KEPT
from device.update.updater import STEPS

WAYS = ("killed at a step", "killed at a change", "without power", "killed from outside")
WEIGHTS = (30, 20, 47, 3)  # the last takes seconds each


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut to come: at the so-many-th step, or change of the card, or after so many seconds, as the way has it."""

    way: str
    step: int
    change: int
    after_s: float
    seed: int


class Round:
    """One update on one card. changes: how many changes of the card a whole one takes; parts: what a whole new
    release consists of."""

    def __init__(self, folder: Path, bundle: Path, chance: random.Random, changes: int,
                 parts: dict[str, int]) -> None:
        self._folder, self._bundle, self._chance = folder, bundle, chance
        self._changes, self._parts = changes, parts
        self._is_ill = chance.random() < 0.3  # the new release is not well: going back is cut off as well
        self._boots = 0
        self.told: Counter[str] = Counter()

    def play(self) -> None:
        Bench(self._folder)
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            self._cut_off(self._cut())
            bench = self._started()
            self._check_whole(bench)
            self.told[f"left {bench.runs}"] += 1
        self._come_to_an_end()

    def _cut(self) -> Cut:
        chance = self._chance
        return Cut(chance.choices(WAYS, WEIGHTS)[0], chance.randrange(1, len(STEPS) + 1),
                   chance.randrange(1, self._changes + 1), chance.uniform(0.2, 2.0), chance.randrange(1 << 30))

    def _cut_off(self, cut: Cut) -> None:
        self._boots += 1
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._be_cut_off(cut, writing)
        os.close(writing)
        with open(reading, "rb") as pipe:
            if cut.way == "killed from outside":
                pipe.readline()  # its group is its own by now
                time.sleep(cut.after_s)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
            steps = pipe.read().split()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"a child failed by itself: {cut}"
        self.told[cut.way if os.WIFSIGNALED(status) else "came to its end"] += 1
        self.told[f"after {steps[-1].decode() if steps else 'nothing'}"] += 1

    def _be_cut_off(self, cut: Cut, writing: int) -> None:
        """The child's whole life: the machine starts, and an update goes as far as it comes."""
        os.setpgid(0, 0)
        os.write(writing, b"begin\n")
        bench = self._started()
        steps = changes = 0

        def die() -> None:
            if cut.way == "without power":
                disk.cut()
            os.kill(os.getpid(), signal.SIGKILL)

        def at(step: str) -> None:
            nonlocal steps
            os.write(writing, f"{step}\n".encode())
            steps += 1
            if cut.way == "killed at a step" and steps == cut.step:
                die()

        def tick() -> None:
            nonlocal changes
            changes += 1
            if cut.way != "killed at a step" and changes == cut.change:
                die()

        bench.hook = at
        disk = ForgetfulDisk(self._folder, random.Random(cut.seed), tick)
        if cut.way == "killed from outside":
            bench.real_installer()
        else:
            disk.insert()
        code = 1
        try:
            bench.updater().boot()
            if bench.runs == "1.0.0" and not bench.layout.trial.exists():
                bench.updater().update(self._bundle)
            bench.updater().judge()
            code = 0
        finally:
            os._exit(code)

    def _come_to_an_end(self) -> None:
        self._boots += 1
        bench = self._started()
        bench.updater().boot()
        self._check_whole(bench)
        if bench.updater().judge() is Result.ROLLED_BACK:
            assert self._is_ill
        self._is_ill = False
        self._check_whole(bench)
        if bench.runs == "1.0.0":
            bench.updater().update(self._bundle)
            assert bench.updater().judge() is Result.UPDATED
        where = bench.layout
        assert bench.runs == "1.1.0"
        assert where.previous.resolve().name == "1.0.0"
        self._check_whole(bench)
        assert (bench.outcome.result, bench.outcome.runs) == (Result.UPDATED, "1.1.0")
        assert not where.trial.exists()
        assert len(list(where.releases.iterdir())) <= KEPT

    def _started(self) -> Bench:
        """The machine as it is after its so-many-th start, and its services with it."""
        bench = Bench(self._folder)
        bench.boot_id = f"{self._boots:032x}"
        bench.health = lambda age_s: None if self._is_ill and bench.runs == "1.1.0" else {}
        bench.start()
        return bench

    def _check_whole(self, bench: Bench) -> None:
        """The release that would start has every file that it was installed with, and its programs run."""
        release, folder = bench.runs, bench.layout.current.resolve()
        assert release in ("1.0.0", "1.1.0")
        program = folder / "bin" / "doorctl"
        if program.exists():
            said = subprocess.run([program], capture_output=True, text=True, check=True)
            assert said.stdout == f"{release}\n"
            return
        assert release in (folder / "lib" / "tiny.py").read_text()
        assert release == "1.0.0" or sizes(folder / "lib") == self._parts


def sizes(folder: Path) -> dict[str, int]:
    """Every file in a folder."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def measured(folder: Path, bundle: Path) -> tuple[int, dict[str, int]]:
    """How many changes of the card a whole update takes, and what the new release consists of."""
    bench, changes = Bench(folder), 0

    def tick() -> None:
        nonlocal changes
        changes += 1

    disk = ForgetfulDisk(folder, random.Random(0), tick)
    disk.insert()
    bench.updater().update(bundle)
    bench.updater().judge()
    disk.remove()
    return changes, sizes(bench.layout.releases / "1.1.0" / "lib")


def main(folder: Path, cuts: int, seed: int) -> int:
    os.sync = lambda: None  # what is durable is for the forgetful disk to say; the machine's own need not wait for it
    bundle = tiny_bundle(folder, "1.1.0")
    changes, parts = measured(folder / "measured", bundle)
    chance, told, number = random.Random(seed), Counter[str](), 0
    while sum(told[way] for way in WAYS) < cuts:
        number += 1
        one = Round(folder / f"round-{number}", bundle, chance, changes, parts)
        try:
            one.play()
        except BaseException:
            sys.stderr.write(f"round {number} of seed {seed}, so far {dict(one.told)}\n")
            raise
        told += one.told
        subprocess.run(["rm", "-r", str(folder / f"round-{number}")], check=True)
    print(json.dumps({"rounds": number, "changes": changes, "told": dict(told)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

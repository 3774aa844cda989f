"""One run: a system is made, installed and tested, and its vectors are compared with this machine's."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emulator
import groups
import root as system
import tally

from door_setup.plan import Step, Stop, never_done, run  # isort: skip

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = CHECKOUT / ".venv" / "bin" / "python"
PATIENCE_S = 3000  # of one test; the longest took a tenth of it


@dataclass(frozen=True, slots=True)
class Trial:
    options: argparse.Namespace
    cache: Path
    mirror: str
    root: system.Root

    @property
    def chosen(self) -> list[str]:
        return ["all", groups.SLOWED] if self.options.all else self.options.group or list(groups.GROUPS)

    def about(self, name: str) -> str:
        return "every test that is not slow" if name == "all" else groups.GROUPS[name][0]

    def files(self, name: str) -> list[str]:
        return groups.everything() if name == "all" else groups.files(name)

    def steps(self) -> Iterator[Step]:
        """Up to a system that tests can be run in."""
        cache, root = self.cache, self.root
        yield Step(f"fetch qemu-user of {emulator.SUITE}", "runs arm64 programs on this processor; Debian 12's "
                   "crashes inside LiteRT", emulator.program(cache).exists,
                   lambda: emulator.fetch(cache, self.mirror))
        yield self._register()
        yield Step(f"debootstrap {emulator.SUITE} for arm64", "the least that an installation starts from, kept for "
                   "the next run", system.archive(cache).exists, lambda: system.debootstrap(cache, self.mirror))
        yield _always("make the packs on this machine", "their vectors are to compare with, their archives are "
                      "shared", self._vectors_here)
        yield _always("unpack it", "each run has a fresh system", lambda: root.unpack(system.archive(cache)))
        yield _always("put the committed tree into it", "what is not committed is not tested",
                      lambda: root.put_source(CHECKOUT))
        yield _always("copy the packs' archives into it", "they are the same everywhere", self._copy_archives)
        yield _always("mount what a system has", "seen by this run alone", self._mount)
        yield _always(f"choose the processor {system.PROCESSOR}", "a Raspberry Pi 5's", root.choose_processor)
        yield _always("install --rehearsal --hub", "as on a board: accounts, release of pinned wheels, pack, units",
                      self._install)
        yield _always("install again", "the second one changes nothing", self._install_again)
        yield _always("prepare --for test", "the tests' own wheels", self._prepare)
        yield _always("make the packs in it", "converted and computed by this architecture", self._vectors_there)

    def kept_steps(self) -> Iterator[Step]:
        """The same for a system that an earlier run has kept, with the source that it has."""
        if not self.root.at(f"{system.CHECKOUT}/.venv").is_dir():
            raise Stop("no run has kept a system that was ready; run it once with --keep")
        yield self._register()
        yield _always("mount what a system has", "seen by this run alone", self._mount)

    def _register(self) -> Step:
        return _always("register qemu with the kernel", "until the end of this run",
                       lambda: emulator.register(self.cache))

    def test(self) -> tally.Tally:
        """All chosen groups, some at once, a line for each."""
        with ThreadPoolExecutor(max(1, self.options.jobs)) as pool:
            return sum(pool.map(self._test, self.chosen), tally.Tally())

    def _test(self, name: str) -> tally.Tally:
        begun, is_slowed = time.monotonic(), name == groups.SLOWED
        patience_s = round(PATIENCE_S * (groups.RATE if is_slowed else 1))
        results = f"{system.RESULTS}/{name}.xml"
        self.root.at(results).unlink(missing_ok=True)
        words = [".venv/bin/python", "-m", "pytest", "-m", "not slow", "-p", "no:cacheprovider", "-o",
                 f"timeout={patience_s}", f"--junitxml={results}", "--durations=5",
                 *(f"--deselect={test}" for test in groups.LEFT_OUT), *self.files(name)]
        more = {**groups.SLOWED_COUNTS, **system.slowed(groups.RATE)} if is_slowed else groups.COUNTS
        code = self.root.run(name, words, {**self._given(), **more})
        found = tally.read(self.root.at(results), code)
        print(f"  {name:9} {found}, {time.monotonic() - begun:.0f} s: {self.about(name)}", flush=True)
        return found

    def compare(self) -> bool:
        """A line for every network; whether all are near."""
        here, there = self._vectors("here"), self._vectors("there")
        found = tally.distances(here["vectors"], there["vectors"])
        for one in found:
            print(f"  {'vector' if one.is_near else 'FAR   '} {one.name}: difference {one.difference:.1e}, "
                  f"cosine {one.cosine:.9f}")
        is_near = bool(found) and all(one.is_near for one in found)
        print(f"  vectors of {len(found)} networks on {here['machine']} and {there['machine']}: "
              f"{'equal' if is_near else 'NOT equal'} to {tally.GREATEST:.0e} of each one's greatest value")
        return is_near

    def platform(self) -> str:
        there = self._vectors("there")
        return f"{there['machine']}, Python {there['python']}"

    def clear(self) -> None:
        """The kernel lets go of the mounts inside once nobody sees them."""
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.root.path}/"):
                run(["umount", "--lazy", line.split()[1]])
        run(["rm", "-rf", "--one-file-system", self.root.path])

    def _mount(self) -> None:
        weights = os.environ.get("DOOR_WEIGHTS")
        pip = self.cache / "pip"
        pip.mkdir(exist_ok=True)
        shared = {"/srv/pip": pip, "/etc/hosts": Path("/etc/hosts"),
                  "/etc/resolv.conf": Path("/etc/resolv.conf").resolve(),
                  **system.local_places(system.pip_settings(PYTHON))}
        self.root.mount({**shared, **({system.WEIGHTS: Path(weights)} if weights else {})})

    def _copy_archives(self) -> None:
        archives = self._vectors("here")["archives"]
        for folder in (f"{system.HOME}/.cache/door", "/var/cache/door"):
            self.root.at(folder).mkdir(parents=True)
            run(["cp", "-r", archives, self.root.at(folder)])
        self.root.at(system.RESULTS).mkdir()

    def _install(self) -> None:
        self._insist("install", "firmware_scripts/install", "--rehearsal", "--hub")

    def _install_again(self) -> None:
        self._insist("install-again", "firmware_scripts/install", "--rehearsal", "--hub")
        said = (self.cache / "logs" / "install-again.log").read_text()
        if said.count("nothing to change") != 2:
            raise Stop(f"the second installation changed something; see {self.cache}/logs/install-again.log")

    def _prepare(self) -> None:
        # Most modules of these wheels are never imported: compiling all of them takes longer than the tests.
        self.root.insist("prepare", ["firmware_scripts/prepare", "--for", "test", "--lean"],
                         {**self._given(), "PIP_NO_COMPILE": "1"})

    def _vectors_here(self) -> None:
        said = run([PYTHON, Path(__file__).with_name("vectors.py")],
                   environment={**os.environ, "PYTHONPATH": str(CHECKOUT)})
        (self.cache / "logs" / "vectors-here.json").write_bytes(said)

    def _vectors_there(self) -> None:
        script = f".venv/bin/python tests/arm64/vectors.py > {system.RESULTS}/vectors.json"
        self._insist("vectors", "sh", "-c", script)
        said = self.root.at(f"{system.RESULTS}/vectors.json").read_bytes()
        (self.cache / "logs" / "vectors-there.json").write_bytes(said)

    def _vectors(self, side: str) -> Any:
        return json.loads((self.cache / "logs" / f"vectors-{side}.json").read_text())

    def _insist(self, name: str, *words: str) -> None:
        self.root.insist(name, list(words), self._given())

    def _given(self) -> dict[str, str]:
        weights = {"DOOR_WEIGHTS": system.WEIGHTS} if os.environ.get("DOOR_WEIGHTS") else {}
        return {**system.pip_settings(PYTHON), **weights}


def _always(what: str, why: str, act: Callable[[], object]) -> Step:
    return Step(what, why, never_done, act)

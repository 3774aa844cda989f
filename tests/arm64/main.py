"""test-arm64: the installation and the tests on Debian 13 for arm64, under emulation.

    sudo tests/arm64/run [--all] [--group NAME ...] [--jobs N] [--keep | --kept] [--dry-run]

qemu-user and the bare system are fetched once and kept in the cache ($DOOR_CACHE, else ~/.cache/door, in arm64/).
Every run unpacks the system anew, puts the committed tree into it, installs the rehearsal and the hub as on a board,
makes the environment for tests, runs the groups of groups.py, and compares every network's vector with this
machine's.

It ends with 0 (all held), 1 (something did not), 2 (wrong usage), or 77: it cannot run here, and one line says why.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "firmware_scripts"))

import emulator
import groups
from door_setup.plan import Stop, WrongUsage, carry_out, guarded
from needs import why_not
from root import Root, Stopwatch
from trial import Trial

SKIPPED = 77
INSIDE = "DOOR_ARM64_INSIDE"
NAMESPACES = ("--mount", "--mount-proc", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return guarded("test-arm64", lambda: _go(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/arm64/run", description="The installation and the tests on Debian 13 for arm64, under emulation.",
        epilog="example: sudo tests/arm64/run --group packs")
    parser.add_argument("--all", action="store_true", help="every test that is not marked slow; takes hours")
    parser.add_argument("--group", choices=sorted(groups.GROUPS), action="append", help="only this; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="groups at once (default: one a core)")
    parser.add_argument("--mirror", metavar="URL", help="where Debian comes from, if not from where apt has it")
    parser.add_argument("--keep", action="store_true", help="leave the system in the cache")
    parser.add_argument("--kept", action="store_true", help="test in the system that was left there, as it is")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    return parser


def _go(options: argparse.Namespace) -> int:
    cache = _cache()
    if reason := why_not(cache):
        print(f"test-arm64 skipped: {reason}")
        return SKIPPED
    mirror = options.mirror or emulator.mirror()
    if not mirror:
        raise WrongUsage("apt has no Debian here; name one with --mirror")
    if options.dry_run:
        return _run_inside(options, cache, mirror)
    (cache / "logs").mkdir(parents=True, exist_ok=True)
    if os.environ.get(INSIDE):
        return _run_inside(options, cache, mirror)
    with _alone(cache):
        return _outside(cache)


def _cache() -> Path:
    given = os.environ.get("DOOR_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "door"
    return Path(given).absolute() / "arm64"


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    with (cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Stop(f"another run uses {cache}; wait for its end") from None
        yield


def _outside(cache: Path) -> int:
    """The same program in name spaces of its own: every mount and every process ends with it, however it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    words = ["unshare", *NAMESPACES, "bash", "-c", '"$@"; exit $?', "reaper",  # bash takes in orphans, as init does
             sys.executable, str(Path(__file__).with_name("run")), *sys.argv[1:]]
    inner = subprocess.Popen(words, env={**os.environ, INSIDE: "1"})
    try:
        return inner.wait()
    finally:
        inner.kill()
        inner.wait()
        emulator.forget(cache)


def _run_inside(options: argparse.Namespace, cache: Path, mirror: str) -> int:
    watch = Stopwatch()
    one = Trial(options, cache, mirror, Root(cache / "root", cache / "logs"))
    carry_out(one.kept_steps() if options.kept else one.steps(), options.dry_run)
    if options.dry_run:
        for name in one.chosen:
            print(f"  would test {name}: {one.about(name)} ({len(one.files(name))} files)")
        return 0
    found = one.test()
    is_near = one.compare()
    if not (options.keep or options.kept):
        one.clear()
    for name in found.failed:
        print(f"  failed {name}")
    for reason, count in found.skipped.most_common():
        print(f"  skipped {count} x {reason}")
    print(f"test-arm64: {found} in {watch.seconds()} s; Debian {emulator.SUITE}, {one.platform()}, qemu "
          f"{emulator.version(cache)}")
    return 0 if is_near and not found.failed else 1

"""Running the tree's own programs, and how they see its paths.

A whole system's programs run inside it, by chroot where it is not this machine's. A tree that holds nothing but what
was installed is served by this machine's, which see its files where they lie.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from door_setup.machine import has_programs
from door_setup.plan import Stop, run
from door_setup.tree import Tree

_MOUNTED = (("/proc", "proc"), ("/sys", "sysfs"), ("/dev", None))


def is_within(tree: Tree) -> bool:
    """Whether programs of the tree see it as `/`."""
    return tree.is_live or has_programs(tree)


def seen(tree: Tree, path: str) -> str:
    """One of the tree's paths as its programs see it."""
    return path if is_within(tree) else str(tree.at(path))


def inside(tree: Tree, command: list[str]) -> list[str]:
    """The command as it is called from here."""
    return ["chroot", str(tree.root), *command] if is_within(tree) and not tree.is_live else command


@contextlib.contextmanager
def mounted(tree: Tree) -> Iterator[None]:
    """What programs by chroot expect to be mounted, for as long as the block lasts."""
    done: list[Path] = []
    try:
        for path, kind in () if tree.is_live or not is_within(tree) else _MOUNTED:
            target = tree.at(path)
            target.mkdir(exist_ok=True)
            if target.is_mount():
                continue
            run(["mount", "-t", kind, kind, target] if kind else ["mount", "--bind", path, target])
            done.append(target)
        yield
    finally:
        for target in reversed(done):
            with contextlib.suppress(Stop):
                run(["umount", target])

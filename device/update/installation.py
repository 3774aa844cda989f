"""Installs a verified wheelhouse as a release folder, beside the one that runs, without any network; tries it.

The folder is a virtual environment in its final place, since the scripts in it name that place. It is no release
until `release.write_release` says so.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from device.update.bundle import REQUIREMENTS, WHEELS
from device.update.disk import UpdateFailed

INSTALL_S = 1800.0
TRY_S = 90.0
PROGRAMS = ("doord", "doorctl", "door-relay", "door-syncd")


class Installer(Protocol):
    """Makes a release folder out of unpacked parts, and tries one."""

    def install(self, parts: Path, folder: Path) -> None:
        """Fill `folder`; UpdateFailed where a wheel is missing or has another hash than the requirements name."""
        ...

    def rehearse(self, folder: Path) -> None:
        """Let the release in `folder` decide in rehearsal; UpdateFailed in one line where it does not."""
        ...


class VenvInstaller:
    """With this release's own pip.

    current    the release that runs; whether the system's packages are seen is taken from there
    scratch    for temporary files: /tmp of a small board is often too small for them
    """

    def __init__(self, current: Path, scratch: Path) -> None:
        self._current, self._scratch = current, scratch

    def install(self, parts: Path, folder: Path) -> None:
        python = folder / "bin" / "python"
        seen = ["--system-site-packages"] if sees_system(self._current) else []
        self._run([sys.executable, "-m", "venv", "--without-pip", *seen, str(folder)], "venv", INSTALL_S)
        self._run([sys.executable, "-m", "pip", "--isolated", "--python", str(python), "install", "--no-index",
                   "--find-links", str(parts / WHEELS), "--require-hashes", "--only-binary=:all:", "--no-deps",
                   "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--no-warn-script-location",
                   "--requirement", str(parts / REQUIREMENTS)], "pip", INSTALL_S)
        for program in PROGRAMS:
            self._run([str(folder / "bin" / program), "--help"], f"{program} of the new release", TRY_S)

    def rehearse(self, folder: Path) -> None:
        self._run([str(folder / "bin" / "python"), "-I", "-B", "-m", "device.update.selfcheck"],
                  "the new release does not decide as it must", TRY_S)

    def _run(self, command: Sequence[str], what: str, limit_s: float) -> None:
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        surroundings |= {"TMPDIR": str(self._scratch), "PIP_CONFIG_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env=surroundings, umask=0o022, timeout=limit_s)
        except OSError as error:
            raise UpdateFailed(f"{what}: {command[0]}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise UpdateFailed(f"{what}: no answer within {limit_s:.0f} s") from None
        if b"No space left on device" in done.stdout:
            raise UpdateFailed(f"{what}: the card is full; free some space, then update again")
        if done.returncode != 0:
            raise UpdateFailed(f"{what}: {_reason(done.stdout, done.returncode)}")


def sees_system(release: Path) -> bool:
    """Whether the virtual environment sees the system's packages, as a Raspberry Pi's camera needs."""
    with contextlib.suppress(OSError):
        for line in (release / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "include-system-site-packages":
                return value.strip() == "true"
    return False


def _reason(output: bytes, code: int) -> str:
    """A tool's own last word of weight, in one line."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    weighty = [line for line in lines if "error" in line.lower()[:40]]
    chosen = (weighty or lines or [f"it ended with {code}"])[-1]
    return "".join(character for character in chosen if character.isprintable())[:200]

"""Wheelhouse: every wheel that a release needs on one kind of machine, fetched by hash, and the project's own.

pip fetches from whatever sources it is set up with; the hashes say whether it is the right file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from device.errors import TerminalError
from device.update.making.pins import Pin, Target

SOURCES = ("device", "sync", "firmware_scripts", "systemd", "requirements")
FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
_OURS = "open_door"
_PYC = 1.3  # what compiled modules add; measured on the terminal's own wheels (x86-64, Python 3.11): 1.17
_BLOCK = 4096
_LIMIT_S = 3600.0


class WheelMissing(TerminalError, OSError):
    """A wheel cannot be fetched or built; the message says which."""


def fetch(pins: Sequence[Pin], target: Target, folder: Path) -> list[Path]:
    """The pinned wheels, in `folder`; WheelMissing where pip cannot have one for that machine."""
    folder.mkdir(parents=True, exist_ok=True)
    if not pins:
        return []
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(pin.line() + "\n" for pin in pins), encoding="utf-8")
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    _run([sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest",
          str(folder), "--python-version", target.python, "--implementation", "cp", "--disable-pip-version-check",
          "--no-input", *platforms, "--requirement", str(requirements)], folder, "the wheels cannot be fetched")
    requirements.unlink()
    return sorted(folder.glob("*.whl"))


def build(checkout: Path, folder: Path, made: datetime) -> Path:
    """The project's own wheel, the same byte for byte for the same sources and moment."""
    clean = folder / "checkout"
    _copy_sources(checkout, clean)
    _run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder),
          "--disable-pip-version-check", "--no-input", str(clean)], folder, "the project's own wheel cannot be built",
         {"SOURCE_DATE_EPOCH": str(int(made.timestamp())), "PYTHONHASHSEED": "0"})
    shutil.rmtree(clean)
    found = list(folder.glob(f"{_OURS}-*.whl"))
    if len(found) != 1:
        raise WheelMissing(f"{len(found)} wheels of the project were built instead of one")
    return found[0]


def pin_of(wheel: Path) -> Pin:
    """A wheel that is there, as a pin."""
    name, version = wheel.name.split("-")[:2]
    return Pin(name.replace("_", "-"), version, (hashlib.sha256(wheel.read_bytes()).hexdigest(),))


def installed_bytes(wheels: Sequence[Path]) -> int:
    """What the wheels take up once installed, about, in whole blocks."""
    total = 0
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            total += sum(-(-entry.file_size // _BLOCK) * _BLOCK for entry in archive.infolist())
    return int(total * _PYC)


def _copy_sources(checkout: Path, clean: Path) -> None:
    """The sources alone, so that nothing which lies about in the checkout gets into the wheel."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
    clean.mkdir(parents=True)
    for name in SOURCES:
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, clean / name, ignore=ignore)
    for name in FILES:
        if (checkout / name).is_file():
            shutil.copy2(checkout / name, clean / name)
    for path in clean.rglob("*"):  # the rights that a checkout has depend on whose it is
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _run(command: list[str], work: Path, what: str, more: dict[str, str] | None = None) -> None:
    surroundings = os.environ | {"TMPDIR": str(work), "PIP_PROGRESS_BAR": "off", **(more or {})}
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=surroundings, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise WheelMissing(f"{what} within {_LIMIT_S / 60:.0f} minutes") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
        weighty = [line for line in lines if line.lower().startswith("error")]
        raise WheelMissing(f"{what}: {(weighty or lines or ['no word'])[0][:200]}")

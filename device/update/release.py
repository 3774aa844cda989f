"""Release: a folder under releases/ that is whole, as its `release.json` says; `Machine`: what it has to run on.

`release.json` is written last, when everything else of the folder is durable: a folder without one is what a cut
left.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from device.update.bundle import BundleRefused
from device.update.disk import guarded, settle, write_durably
from device.update.manifest import Manifest, arch_of, hash_of, python_of, read_moment, write_moment
from device.update.version import Version

NAME = "release.json"


@dataclass(frozen=True, slots=True)
class Release:
    """What is installed in one folder; the fields are those of the manifest that it came by."""

    version: Version
    built: datetime
    arch: str
    python: str
    requirements_sha256: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What a release must fit."""

    arch: str
    python: str

    @classmethod
    def here(cls) -> Machine:
        return cls(platform.machine(), f"{sys.version_info.major}.{sys.version_info.minor}")

    @property
    def words(self) -> str:
        """As in "aarch64 py3.11"."""
        return f"{self.arch} py{self.python}"


def read_release(folder: Path) -> Release | None:
    """What the folder holds; None where it is no release, or not a whole one."""
    try:
        found = json.loads((folder / NAME).read_bytes())
        release = Release(Version.parse(found["version"]), read_moment(found["built"]), arch_of(found["arch"]),
                          python_of(found["python"]), hash_of(found["requirements_sha256"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return release if str(release.version) == folder.name else None


def write_release(folder: Path, manifest: Manifest) -> None:
    """Make the folder a whole release: first everything in it is durable, then it says so."""
    found = {"version": str(manifest.version), "built": write_moment(manifest.built), "arch": manifest.arch,
             "python": manifest.python, "requirements_sha256": manifest.requirements_sha256}
    with guarded(folder):
        settle()
        write_durably(folder / NAME, json.dumps(found, indent=1).encode() + b"\n")


def check_fits(manifest: Manifest, machine: Machine, current: Release) -> None:
    """BundleRefused, in one line, where the release is for another machine, or not newer than the one that runs."""
    right = f"take the one named *-{machine.arch}-py{machine.python}.bundle"
    if manifest.arch != machine.arch:
        raise BundleRefused(f"the bundle is for {manifest.arch}; this machine is {machine.arch}: {right}")
    if manifest.python != machine.python:
        raise BundleRefused(f"the bundle is for Python {manifest.python}; this machine has {machine.python}: {right}")
    if manifest.version == current.version:
        raise BundleRefused(f"release {current.version} runs already")
    if manifest.version < current.version:
        raise BundleRefused(f"the bundle is of release {manifest.version}, older than {current.version}, which runs; "
                            "an older release is never installed")
    if current.version < manifest.min_version:
        raise BundleRefused(f"release {manifest.version} can be installed over {manifest.min_version} or newer; "
                            f"{current.version} runs: update to {manifest.min_version} first")

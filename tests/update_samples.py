"""What the tests of updates share: keys, a tiny release as a real wheel, bundles of it, a terminal in a folder."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from device.clock import ClockQuality, HandClock
from device.update.bundle import Bundle, BundleRefused, write_bundle
from device.update.disk import UpdateFailed
from device.update.health import Watch
from device.update.installation import PROGRAMS, Installer, VenvInstaller
from device.update.layout import Layout, layout
from device.update.making.keys import KeyFile, make_keys, read_keys
from device.update.making.main import assemble
from device.update.making.signing import first_root, sign_bundle
from device.update.making.wheelhouse import installed_bytes, pin_of
from device.update.manifest import Manifest, write_moment
from device.update.outcome import Outcome, Result, read_outcome
from device.update.release import Machine, read_release
from device.update.slots import Slots
from device.update.stage import Stage
from device.update.time_floor import TimeFloor
from device.update.updater import Surroundings, Updater
from device.update.version import Version

MADE = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)
HERE = Machine.here()
BOOT = "b" * 32
HASH = "0" * 64

_PROGRAM = """
import sys
def main():
    print({version!r})
    return 0
"""
_SELFCHECK = "import sys\nsys.exit({verdict!r})\n"


def at(day: float) -> datetime:
    """So many days after the first bundle was made."""
    return datetime.fromtimestamp(MADE.timestamp() + day * 86400, timezone.utc)


# --- who signs -----------------------------------------------------------------------------------------------


OURS = "ours"


@functools.cache
def signers(name: str) -> list[KeyFile]:
    """A whole set of keys, made once a run; another name, other keys."""
    assert name
    with tempfile.TemporaryDirectory() as folder:
        make_keys(Path(folder) / "keys", None)
        return read_keys([Path(folder) / "keys"], lambda path: b"")


@functools.cache
def root(name: str) -> bytes:
    """The first root of trust of those keys; it holds for a century."""
    return first_root(signers(name), at(-30), 36_500)


# --- a tiny release ------------------------------------------------------------------------------------------


def tiny_wheel(folder: Path, release: str, verdict: str | int = 0, padding: int = 0) -> Path:
    """A wheel like the project's, with programs of two lines; `verdict` is what its self-check ends with, `padding`
    by how many bytes it is larger than need be."""
    info = f"open_door-{release}.dist-info"
    points = "".join(f"{name} = tiny:main\n" for name in PROGRAMS)
    files = {
        "tiny.py": _PROGRAM.format(version=release), "device/__init__.py": "", "device/update/__init__.py": "",
        "device/update/selfcheck.py": _SELFCHECK.format(verdict=verdict), **_padding(padding),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: open-door\nVersion: {release}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{points}"}
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    path = folder / f"open_door-{release}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def _padding(size: int) -> dict[str, str]:
    """Text of which no two chunks are equal."""
    text = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(size // 64 + 1))
    return {"tiny_padding.txt": text[:size]} if size else {}


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def manifest_of(release: str, made: datetime = MADE, **changes: Any) -> Manifest:
    manifest = Manifest(Version.parse(release), Version(0, 0, 0), HERE.arch, HERE.python, made, HASH, 100_000)
    return dataclasses.replace(manifest, **changes)


def tiny_bundle(folder: Path, release: str, made: datetime = MADE, *, days: int = 180, verdict: str | int = 0,
                keys: Sequence[KeyFile] | None = None, roots: Sequence[bytes] | None = None, name: str = "",
                padding: int = 0, **changes: Any) -> Path:
    """A signed bundle of a tiny release; `changes` are the manifest's."""
    with tempfile.TemporaryDirectory() as scratch:
        wheel = tiny_wheel(Path(scratch), release, verdict, padding)
        manifest = manifest_of(release, made, **{"installed_bytes": installed_bytes([wheel]), **changes})
        path = folder / (name or manifest.bundle_name)
        assemble(path, manifest, pin_of(wheel).line().encode() + b"\n", [wheel], lambda targets: sign_bundle(
            roots or [root(OURS)], keys or signers(OURS), targets, made, days))
    return path


def parts_of(path: Path) -> dict[str, bytes]:
    with Bundle.open(path) as bundle:
        return {name: bundle.read(name) for name in bundle.parts}


def rewritten(path: Path, parts: dict[str, bytes]) -> Path:
    """A bundle of these parts beside another one."""
    changed = path.with_name("changed.bundle")
    write_bundle(changed, dict(parts))
    return changed


# --- a terminal in a folder ----------------------------------------------------------------------------------


class QuickInstaller:
    """Unpacks the wheel by hand, for tests of what comes before and after; `fault` is what it fails with."""

    def __init__(self) -> None:
        self.fault = self.rehearsal_fault = ""
        self.rehearsed: list[str] = []

    def install(self, parts: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "lib").mkdir()
        for wheel in (parts / "wheels").iterdir():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder / "lib")
        if self.fault:
            raise UpdateFailed(self.fault)

    def rehearse(self, folder: Path) -> None:
        self.rehearsed.append(folder.name)
        if self.rehearsal_fault:
            raise UpdateFailed(self.rehearsal_fault)


class HandServices:
    """Services that start when the test's bench says how they start."""

    def __init__(self, started: Callable[[], None]) -> None:
        self._started, self.restarts = started, 0

    def restart(self) -> None:
        self.restarts += 1
        self._started()


class Bench:
    """A terminal with release 1.0.0, its clock moved by hand. doord is as `doord` says, from its start on."""

    def __init__(self, folder: Path, root_name: str = OURS) -> None:
        self.layout: Layout = layout(folder)
        self.clock = HandClock()
        self.quality: ClockQuality | None = ClockQuality.HOLDOVER
        self.boot_id = BOOT
        self.installer: Installer = QuickInstaller()
        self.services = HandServices(self.start)
        self.status: dict[str, Any] | None = None
        self.health: Callable[[float], dict[str, Any] | None] = lambda age_s: {}
        self.steps: list[str] = []
        self.said: list[str] = []
        self.hook: Callable[[str], None] = self.steps.append
        self.spare_bytes = 0
        self.pid, self._started_mono = 100, self.clock.mono()
        for each in (self.layout.releases, self.layout.state, self.layout.spool, self.layout.bootstrap.parent,
                     self.layout.runtime):
            each.mkdir(parents=True, exist_ok=True)
        self.layout.bootstrap.write_bytes(root(root_name))
        if not self.layout.current.is_symlink():
            self.put_release("1.0.0")
            self.layout.current.symlink_to("releases/1.0.0")
        self._write_status()

    def put_release(self, version: str, built: datetime = MADE) -> Path:
        folder = self.layout.releases / version
        (folder / "lib").mkdir(parents=True)
        (folder / "lib" / "tiny.py").write_text(version)
        (folder / "release.json").write_text(json.dumps({
            "version": version, "built": write_moment(built), "arch": HERE.arch, "python": HERE.python,
            "requirements_sha256": HASH}))
        return folder

    def updater(self) -> Updater:
        """A process of its own, as far as it could remember anything."""
        floor = TimeFloor(self.layout.floor, Slots(self.layout).current.built, self.clock, self._judge)
        around = Surroundings(self.clock, HERE, self.boot_id, self.installer, self.services,
                              Watch(self.layout, self.clock), floor, self._wait, self.said.append, self._at)
        return Updater(self.layout, Stage(self.layout.staging, self.spare_bytes, lambda count: None), around)

    def real_installer(self) -> None:
        self.installer = VenvInstaller(self.layout.current.resolve(), self.layout.staging)

    @property
    def runs(self) -> str:
        """The release that starts: a whole one, or the test fails."""
        release = read_release(self.layout.current.resolve())
        assert release is not None, f"{os.readlink(self.layout.current)} is not whole"
        return str(release.version)

    @property
    def outcome(self) -> Outcome:
        found = read_outcome(self.layout.outcome)
        assert found is not None
        return found

    def tree(self) -> dict[str, bytes | str]:
        """Everything on the card but the outcome and the lock, to be compared."""
        found: dict[str, bytes | str] = {}
        for top in (self.layout.opt, self.layout.state):
            for path in sorted(top.rglob("*")):
                if path not in (self.layout.outcome, self.layout.lock):
                    found[str(path)] = (os.readlink(path) if path.is_symlink() else
                                        path.read_bytes() if path.is_file() else "folder")
        return found

    def refusal(self, path: Path, **more: Any) -> str:
        """The one line with which an update is refused; nothing has changed."""
        before, trusted, restarts = self.tree(), os.path.lexists(self.layout.metadata), self.services.restarts
        with pytest.raises((BundleRefused, UpdateFailed)) as error:
            self.updater().update(path, **more)
        line = str(error.value)
        assert "\n" not in line
        assert self.tree() == before
        assert os.path.lexists(self.layout.metadata) is trusted
        assert (self.outcome.result, self.outcome.runs, self.outcome.why) == (Result.REFUSED, self.runs, line)
        assert self.services.restarts == restarts
        return line

    def start(self) -> None:
        """The services start anew."""
        self.pid, self._started_mono = self.pid + 1, self.clock.mono()
        self._write_status()

    def reboot(self) -> None:
        """The machine starts anew: another boot, and the services with it."""
        self.boot_id = hashlib.sha256(self.boot_id.encode()).hexdigest()[:32]
        self.clock.advance(30)
        self.updater().boot()
        self.clock.advance(5)
        self.start()

    def _wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._write_status()

    def _write_status(self) -> None:
        mono = self.clock.mono()
        more = self.health(mono - self._started_mono)
        path = self.layout.runtime / "status.json"
        if more is None:
            path.unlink(missing_ok=True)
            return
        status = {"pid": self.pid, "mono": mono, "started_mono": self._started_mono, "degraded": [],
                  "camera_state": "camera_fine", "relay_alive": True, "journal_entries": 1, **more}
        path.write_text(json.dumps(status))

    def _at(self, step: str) -> None:
        self.hook(step)

    def _judge(self, now: datetime, floor: datetime) -> ClockQuality:
        return ClockQuality.UNTRUSTED if now < floor else self.quality or ClockQuality.HOLDOVER

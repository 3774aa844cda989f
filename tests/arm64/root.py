"""The system that is emulated: Debian 13 for arm64 by debootstrap, kept as an archive, unpacked anew for every run.

Everything here happens in name spaces of mounts and processes that end with the run; main.py makes them.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from door_setup.plan import Stop, run
from emulator import SUITE

PACKAGES = ("ca-certificates", "dbus", "gcc", "libc6-dev", "libfaketime", "mosquitto", "openssl", "python3",
            "python3-venv", "systemd-sysv", "systemd-timesyncd", "tzdata", "udev", "util-linux")
HOME = "/srv/home"
CHECKOUT = "/srv/open-door"
RESULTS = "/srv/results"
WEIGHTS = "/srv/weights"
PROCESSOR = "cortex-a76"
"""A Raspberry Pi 5's. qemu's own choice has scalable vectors (SVE), with which numpy's OpenBLAS multiplies wrongly
there; no Raspberry Pi has any."""

_FAKETIME = "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"
_PRELOADED = "/usr/local/lib/processor.so"
_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE")


def archive(cache: Path) -> Path:
    """Where the bare system is kept; another list of packages has another name."""
    made_of = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:8]
    return cache / f"{SUITE}-arm64-{made_of}.tar.gz"


def debootstrap(cache: Path, mirror: str) -> None:
    making, log = cache / "making", cache / "logs" / "debootstrap.log"
    shutil.rmtree(making, ignore_errors=True)
    include = f"--include={','.join(PACKAGES)}"
    # A system that is made anew where it breaks need not reach the disk file by file.
    with log.open("wb") as stream:
        done = subprocess.run(["debootstrap", "--arch=arm64", "--variant=minbase", include, SUITE, making, mirror],
                              env={**os.environ, "DPKG_FORCE": "unsafe-io"}, stdout=stream, stderr=subprocess.STDOUT,
                              check=False)
    if done.returncode != 0:
        raise Stop(f"debootstrap failed with {done.returncode}; see {log} and {making}/debootstrap/debootstrap.log")
    shutil.rmtree(making / "var/cache/apt/archives", ignore_errors=True)
    part = archive(cache).with_suffix(".part")
    run(["tar", "--create", "--file", part, "--use-compress-program", "gzip -1", "--numeric-owner", "--directory",
         making, "."])
    part.rename(archive(cache))
    shutil.rmtree(making)


@dataclass(frozen=True, slots=True)
class Root:
    """path  the folder it lies in; logs  where the output of what it runs goes"""

    path: Path
    logs: Path

    def at(self, inner: str) -> Path:
        return self.path / inner.lstrip("/")

    def unpack(self, base: Path) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        run(["tar", "--extract", "--file", base, "--numeric-owner", "--directory", self.path])

    def put_source(self, checkout: Path) -> None:
        """The committed tree, not what lies about in the checkout."""
        self.at(CHECKOUT).mkdir(parents=True)
        data = run(["git", "-c", f"safe.directory={checkout}", "-C", checkout, "archive", "HEAD"])
        run(["tar", "--extract", "--no-same-owner", "--directory", self.at(CHECKOUT)], data=data)

    def mount(self, shared: dict[str, Path]) -> None:
        """What a running system has, and folders of this machine: where they are seen -> where they are."""
        for inner, kind, options in (("/proc", "proc", "rw"), ("/sys", "sysfs", "ro"), ("/dev", "tmpfs", "mode=755"),
                                     ("/run", "tmpfs", "mode=755"), ("/tmp", "tmpfs", "mode=1777")):
            run(["mount", "-t", kind, "-o", options, kind, self.at(inner)])
        for name, (major, minor) in _NODES.items():
            run(["mknod", "-m", "666", self.at(f"/dev/{name}"), "c", str(major), str(minor)])
        for name, kind, options in (("pts", "devpts", "newinstance,ptmxmode=0666"), ("shm", "tmpfs", "mode=1777")):
            self.at(f"/dev/{name}").mkdir()
            run(["mount", "-t", kind, "-o", options, kind, self.at(f"/dev/{name}")])
        for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
            self.at(f"/dev/{name}").symlink_to(target)
        for inner, outer in shared.items():
            self._bind(outer, self.at(inner))

    def _bind(self, outer: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if outer.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.exists():
            target.touch()
        run(["mount", "--bind", outer, target])

    def choose_processor(self) -> None:
        """For every program of the system, whatever its environment."""
        target, source = self.at(_PRELOADED), Path(__file__).with_name("processor.c")
        run(["chroot", self.path, "env", f"QEMU_CPU={PROCESSOR}", "gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o",
             _PRELOADED, f'-DPROCESSOR="{PROCESSOR}"', "-x", "c", "-"], data=source.read_bytes())
        target.chmod(0o755)
        self.at("/etc/ld.so.preload").write_text(f"{_PRELOADED}\n")

    def run(self, name: str, words: list[str], surroundings: dict[str, str]) -> int:
        """Run a command in it as its root, output into the log of that name; its exit code."""
        given = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME, "LC_ALL": "C.UTF-8",
                 "QEMU_CPU": PROCESSOR, **surroundings}
        settings = (f"{key}={value}" for key, value in given.items())
        with (self.logs / f"{name}.log").open("wb") as stream:
            return subprocess.run(
                ["chroot", self.path, "env", "-i", "-C", CHECKOUT, *settings, *words], stdin=subprocess.DEVNULL,
                stdout=stream, stderr=subprocess.STDOUT, check=False).returncode

    def insist(self, name: str, words: list[str], surroundings: dict[str, str]) -> None:
        """The same; Stop with the log's last lines where it fails."""
        code = self.run(name, words, surroundings)
        if code != 0:
            log = self.logs / f"{name}.log"
            tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-15:])
            raise Stop(f"{name} failed with {code} ({log}):\n  {tail}")


def slowed(rate: float) -> dict[str, str]:
    """Surroundings in which time passes at this rate, for a process and all that it starts."""
    return {"LD_PRELOAD": _FAKETIME, "FAKETIME": f"+0 x{rate}", "FAKETIME_DONT_RESET": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "0", "FAKETIME_CACHE_DURATION": "100000"}


def pip_settings(python: Path) -> dict[str, str]:
    """This machine's own configuration of pip, as environment variables, and its proxies."""
    said = run([python, "-m", "pip", "config", "list"]).decode()
    found = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    for section, key, value in re.findall(r"^(global|install|:env:)\.([a-z-]+)=(.*)$", said, re.MULTILINE):
        if not (section == ":env:" and key == "config-file"):
            found[f"PIP_{key.upper().replace('-', '_')}"] = " ".join(str(ast.literal_eval(value)).split())
    return {**found, "PIP_ROOT_USER_ACTION": "ignore", "PIP_CACHE_DIR": "/srv/pip"}


def local_places(settings: dict[str, str]) -> dict[str, Path]:
    """Folders and certificates of this machine that those settings name; they are seen at the same place."""
    words = [word for value in settings.values() for word in value.split()]
    named = {Path(word) for word in words if word.startswith("/")}
    indexes = {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file:///")}
    return {str(path): path for path in named | indexes if path.exists()}  # an index's files lie beside it


class Stopwatch:
    def __init__(self) -> None:
        self._begun = time.monotonic()

    def seconds(self) -> int:
        return round(time.monotonic() - self._begun)

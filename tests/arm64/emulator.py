"""qemu-user of Debian 13, unpacked from its package into the cache and known to the kernel while we run.

That of Debian 12 (7.2) crashes inside LiteRT. Debian 13's (10.0) is linked statically, so it runs on any Linux.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from door_setup.plan import Stop, run
from needs import KEYRING

SUITE = "trixie"
NAME = "open-door-arm64"
# A little-endian 64-bit ELF program or library for machine 0xb7, as qemu's own registration has it.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
FLAGS = "OCF"  # held open from now on, so that it need not lie in the root; programs keep their own rights


def mirror() -> str:
    """Where this machine's own apt has Debian from; empty where that is nowhere."""
    said = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(SITE)", "Created-By: Packages"])
    rows = [line.split() for line in said.decode().splitlines()]
    return next((row[2] for row in rows if len(row) == 3 and row[0] == "Debian" and "-" not in row[1]), "")


def program(cache: Path) -> Path:
    return cache / "qemu" / "usr" / "bin" / "qemu-aarch64"


def fetch(cache: Path, source: str) -> None:
    """By apt, which checks Debian's signature; with lists of its own, this machine's stay as they are."""
    folder = cache / "apt"
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {source} {SUITE} main\n")
    settings = {"Dir::Etc::SourceList": folder / "sources.list", "Dir::Etc::SourceParts": "/dev/null",
                "Dir::State::Lists": folder / "lists", "Dir::State::Status": "/dev/null", "Dir::Cache": folder,
                "APT::Sandbox::User": "root"}
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *options, "update", "-qq"])
    for old in folder.glob("qemu-user_*.deb"):
        old.unlink()
    _in(folder, ["apt-get", *options, "download", "-qq", "qemu-user"])
    package = next(folder.glob("qemu-user_*.deb"))
    run(["dpkg-deb", "-x", package, cache / "qemu"])
    package.unlink()


def version(cache: Path) -> str:
    return run([program(cache), "--version"]).decode().split("\n", 1)[0].partition("version ")[2]


def register(cache: Path) -> None:
    """From now on the kernel gives arm64 programs to it, before any other that is registered. Where the table is
    mounted is this run's own affair; since Linux 6.7 what is registered goes with the last mount."""
    table = cache / "binfmt"
    table.mkdir(exist_ok=True)
    forget(cache)  # of a run that was killed
    run(["mount", "-t", "binfmt_misc", "none", table])
    (table / "register").write_bytes(f":{NAME}:M::{MAGIC}:{MASK}:{program(cache)}:{FLAGS}".encode())


def forget(cache: Path) -> None:
    """The kernel's table is as it was before, on older kernels too; called from outside as well."""
    table = cache / "binfmt"
    if table.is_dir():
        run(["unshare", "--mount", "--propagation", "private", "sh", "-c",
             'mount -t binfmt_misc none "$1" && { [ ! -e "$1/$2" ] || echo -1 > "$1/$2"; }', "sh", table, NAME])


def _in(folder: Path, words: list[str]) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Stop(f"`{shlex.join(words)[:200]}` failed with {done.returncode}: {done.stderr.strip()[-300:]}")

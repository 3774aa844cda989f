"""What a machine must have to emulate another one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

PROGRAMS = {"debootstrap": "debootstrap", "apt-get": "apt", "dpkg-deb": "dpkg", "unshare": "util-linux",
            "mount": "mount", "chroot": "coreutils", "git": "git", "tar": "tar"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FREE_BYTES = 8_000_000_000  # measured: 5.5 GB with the cache


def why_not(cache: Path) -> str:
    """What is missing; empty where nothing is."""
    if platform.machine() in ("aarch64", "arm64"):
        return "this machine is arm64 itself: `make test` does the same, and faster"
    if os.geteuid() != 0:
        return "only root can mount and change its root; run it with sudo"
    return _missing_program() or _refused_by_the_kernel() or _short_of_room(cache)


def _missing_program() -> str:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is missing; apt-get install {package}"
    return "" if KEYRING.exists() else f"{KEYRING} is missing; apt-get install debian-archive-keyring"


def _refused_by_the_kernel() -> str:
    if "binfmt_misc" not in Path("/proc/filesystems").read_text():
        return "this kernel cannot hand foreign programs to an emulator; modprobe binfmt_misc"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c",
         "mount -t tmpfs tmpfs /mnt && mkdir /mnt/b && mount -t binfmt_misc none /mnt/b && test -w /mnt/b/register"],
        capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"this machine does not let root mount: {tried.stderr.strip()[-200:]}"


def _short_of_room(cache: Path) -> str:
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if shutil.disk_usage(there).free < FREE_BYTES:
        return f"{there} has less than {FREE_BYTES // 1_000_000_000} GB left; DOOR_CACHE names another place"
    return ""

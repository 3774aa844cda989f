"""A machine of its own for tests of the installation: this system with an empty layer above it, booted with systemd.

Name spaces of mounts, processes, network and control groups, with an overlay whose upper layer is in memory: whatever
is installed in it is gone with it, and nothing of this machine is changed. Needs root, and a kernel that allows it;
`why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
STARTING_S = 60.0
WAIT_S = 90.0

_BOOT = r"""
set -e
base=$1; lower=$2; group=$3; shift 3
echo $$ > "$group/cgroup.procs"
exec unshare --mount --pid --cgroup --uts --ipc --net --fork --kill-child=KILL bash -ec "$BOOT_INSIDE" boot \
    "$base" "$lower" "$@"
"""

_INSIDE = r"""
base=$1; lower=$2; shift 2
mount --make-rprivate /
mount -t tmpfs -o size=3g tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/new"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" "$base/new"
cd "$base/new"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
# Nodes of its own: systemd sets the rights of its console, which must not be another one's /dev/null.
umask 0
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
mknod -m 600 dev/console c 1 3
umask 022
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
for folder in "$@"; do mkdir -p ".$folder"; mount --bind "$folder" ".$folder"; done
[ "$lower" != / ] || rm -rf etc/systemd/system/*.wants
rm -f etc/machine-id etc/fstab
touch etc/machine-id
for unit in apt-daily.timer apt-daily-upgrade.timer modprobe@.service systemd-sysctl.service \
        systemd-modules-load.service; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
[ "$lower" != / ] || ln -sf /dev/null etc/systemd/system/systemd-networkd.service
[ "$lower" != / ] || ln -sf /dev/null etc/systemd/system/systemd-resolved.service
ip link set lo up 2>/dev/null || true
mkdir .old
pivot_root . .old
cd /
umount -l /.old
# As systemd does it on hardware: credentials are mounted by a child and must be seen here.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
    --unit=multi-user.target --show-status=no </dev/null >/run/boot.log 2>&1
"""


def why_not() -> str:
    """What is missing for a machine of its own; empty where nothing is."""
    if os.geteuid() != 0:
        return "only root can lay one system over another"
    if not SYSTEMD.exists():
        return "systemd is not installed here"
    if " cgroup2 " not in Path("/proc/mounts").read_text():
        return "control groups of the second version are not mounted"
    for program in ("unshare", "nsenter", "pivot_root", "systemctl"):
        if shutil.which(program) is None:
            return f"{program} is missing"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--cgroup", "--net", "--fork", "sh", "-c",
         "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/m && "
         "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m && "
         "mount -t sysfs sysfs /mnt/m/sys && mount -t cgroup2 cgroup2 /mnt/m/sys/fs/cgroup"],
        capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"this kernel does not allow it: {tried.stderr.strip()[:200]}"


class FreshMachine:
    """One machine. lower: the system below; shared: folders of this machine that it sees as they are."""

    def __init__(self, lower: Path = Path("/"), shared: tuple[Path, ...] = ()) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="fresh-machine-"))
        # A control group of its own: systemd takes the whole of what it is started in.
        self._group = _cgroups() / f"fresh-machine-{secrets.token_hex(6)}"
        self._group.mkdir()
        self._outer = subprocess.Popen(
            ["bash", "-c", _BOOT, "boot", str(self._base), str(lower), str(self._group), *map(str, shared)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "BOOT_INSIDE": _INSIDE})
        self._pid = ""
        try:
            self._await_boot()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FreshMachine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Everything in it ends with its first process."""
        if self._pid:
            os.kill(int(self._pid), signal.SIGKILL)
        self._outer.kill()
        self._outer.communicate()
        for folder in sorted(self._group.rglob("*/"), reverse=True):
            _remove(folder)
        _remove(self._group)
        self._base.rmdir()

    def run(self, *words: str, is_checked: bool = True, data: str | None = None,
            seconds: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its root."""
        done = subprocess.run(
            ["nsenter", "--target", self._pid, "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--root",
             "env", "-i", "-C", "/", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", *words],
            input=data, capture_output=True, text=True, check=False, timeout=seconds)
        if is_checked:
            assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    def is_active(self, unit: str) -> bool:
        return self.run("systemctl", "is-active", "--quiet", unit, is_checked=False).returncode == 0

    def wait_for(self, happened: Callable[[], bool], unit: str) -> None:
        """AssertionError with the log of the unit where it does not happen."""
        until = time.monotonic() + WAIT_S
        while not happened():
            assert time.monotonic() < until, self.log(unit)
            time.sleep(0.2)

    def log(self, unit: str) -> str:
        return self.run("journalctl", "-u", unit, "--no-pager", "-o", "cat", is_checked=False).stdout[-4000:]

    def _await_boot(self) -> None:
        until = time.monotonic() + STARTING_S
        while time.monotonic() < until and self._outer.poll() is None:
            self._pid = self._pid or _child_of(self._outer.pid)
            if self._pid and _name_of(self._pid) == "systemd":
                done = self.run("systemctl", "is-system-running", is_checked=False)
                if done.stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.1)
        assert self._outer.stdout is not None
        said = self._outer.stdout.read().decode() if self._outer.poll() is not None else "systemd does not get up"
        raise AssertionError(said[-2000:])


def _cgroups() -> Path:
    """Where the second version of control groups is mounted."""
    rows = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next(Path(row[1]) for row in rows if row[2] == "cgroup2")


def _remove(group: Path) -> None:
    """A control group goes once its processes have, which takes the kernel a moment."""
    until = time.monotonic() + STARTING_S
    while group.is_dir() and time.monotonic() < until:
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)


def _child_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
    except (OSError, IndexError):
        return ""


def _name_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""

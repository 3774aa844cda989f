"""Trees with an installed terminal for tests of the scripts: the real scripts, with a release that is quick to make.

The release is a real one of this checkout, but for its pinned wheels: it borrows those of the tests' own environment.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import site
import subprocess
import sys
import tempfile
import venv
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "firmware_scripts"
UNITS = ROOT / "systemd"
sys.path.insert(0, str(SCRIPTS))

from door_setup import release  # noqa: E402
from door_setup.tree import Tree  # noqa: E402

SECRET = b"of whoever had it before"
KEY = "etc/credstore/terminal-key"
ACCOUNTS = ("door", "door-sync", "door-kiosk", "door-hub")
PARTS = ("pyproject.toml", "README.md", "LICENSE", "device", "sync", "firmware_scripts", "systemd")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")


def make_release(folder: Path, python: str = sys.executable) -> Path:
    """A release of this checkout, built for its place on a terminal, in `folder`."""
    tree = Tree(folder / "built")
    version = release.Source(ROOT).version
    place = release.place_of(version)
    tree.at(place).mkdir(parents=True)
    if python == sys.executable:
        venv.create(tree.at(place), symlinks=True, with_pip=False)
    else:
        subprocess.run([python, "-m", "venv", "--without-pip", tree.at(place)], check=True)
    copy = folder / "source"
    copy.mkdir()
    for name in PARTS:
        (shutil.copytree(ROOT / name, copy / name, ignore=IGNORED) if (ROOT / name).is_dir()
         else shutil.copy(ROOT / name, copy / name))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    subprocess.run([*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, copy], check=True,
                   stdout=subprocess.DEVNULL)
    wheel = next(folder.glob("open_door-*.whl"))
    subprocess.run([*pip, "--python", tree.at(place) / "bin" / "python", "install", "--no-index", "--no-deps",
                    "--no-compile", wheel], check=True)
    packages = next(tree.at(f"{place}/lib").glob("python3.*/site-packages"))
    packages.joinpath("borrowed.pth").write_text("\n".join(_site_packages()) + "\n")
    release.move_first_lines(tree, place)
    version_words = packages.parent.name.removeprefix("python")
    built = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    tree.at(f"{place}/release.json").write_text(
        f'{{"version": "{version}", "built": "{built}", "arch": "{os.uname().machine}", '
        f'"python": "{version_words}", "requirements_sha256": "{"0" * 64}"}}\n')
    return tree.at(place)


def lived_in(root: Path) -> Tree:
    """A terminal with people, events, keys and a hub, of files that all hold SECRET; nothing of it runs."""
    for name, row in (("passwd", "{0}:x:{1}:{1}::/:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(row.format(account, 900 + at) for at, account in enumerate(ACCOUNTS)))
    units = "etc/systemd/system"
    for name in (KEY, "etc/credstore.encrypted/signing.key", "etc/credstore/sealing.key", "etc/credstore/tls.key",
                 "etc/credstore/.tls.key.0f0f", "etc/door/terminal.toml", "etc/door/terminal.toml.before",
                 "etc/door/liveness.json", "etc/door/link.toml", "etc/door/ca.pem",
                 "etc/door/terminal.pem", f"{units}/doord.service.d/configured.conf",
                 f"{units}/door-syncd.service.d/credentials.conf", "var/lib/door/gallery/gallery.db",
                 "var/lib/door/gallery/gallery.db-wal", "var/lib/door/gallery/gallery.db.id",
                 "var/lib/door/journal/journal.db", "var/lib/door/journal/journal.db.id",
                 "var/lib/door/journal/hub_settings.toml", "var/lib/door/journal/claim-code",
                 "var/lib/door/journal/evidence/0/1.sealed", "var/lib/door/journal/state.key",
                 "var/lib/door/link/terminal.pem", "var/lib/door/sync.json", "var/spool/door-update/incoming.bundle",
                 "run/door/status.json"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SECRET)
    return Tree(root)


@functools.cache
def release_once() -> Path:
    """A release of this checkout that all tests of one run share; nobody writes to it."""
    folder = Path(tempfile.mkdtemp(prefix="open-door-release-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_release(folder)


def run_script(name: str, *words: str | Path, root: Path, is_checked: bool = True, data: str | None = None,
               environment: dict[str, str] | None = None, seconds: float = 100.0) -> subprocess.CompletedProcess[str]:
    """A script of the checkout, as it is called, on a tree."""
    done = subprocess.run([sys.executable, SCRIPTS / name, *words, "--root", root], capture_output=True, text=True,
                          check=False, input=data, timeout=seconds,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})})
    if is_checked:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Path -> (mode, moment of change, content) of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, data)
    return found


def _site_packages() -> list[str]:
    """Where the tests' environment has its packages."""
    return [path for path in site.getsitepackages() if Path(path).is_dir()]

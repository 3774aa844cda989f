"""Running a program of the release with the account, the keys and the surroundings of one of its services."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator

from door_setup.chroot import inside, is_within, seen
from door_setup.credential import Store
from door_setup.plan import Stop
from door_setup.release import program
from door_setup.tree import Tree

ACCOUNTS = {"doord": "door", "door-syncd": "door-sync", "fleethub": "door-hub"}
ENVIRONMENT = "/etc/door/environment"
_KEPT = ("GPIOZERO_PIN_FACTORY", "DOOR_WEIGHTS")


def run_as(store: Store, service: str, name: str, *words: str,
           is_shown: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run `name words...` as the service would; is_shown: its output goes where this script's goes."""
    pipe = None if is_shown else subprocess.PIPE
    if store.tree.has_systemd:
        command = [*_by_systemd(store, service), *program(store.tree, name), *words]
        return subprocess.run(command, check=False, stdout=pipe, stderr=pipe)
    folder = f"/run/keys-{secrets.token_hex(6)}"
    try:
        _lend(store, service, folder)
        command = _by_hand(store.tree, service, [*_own_words(store.tree, name), *words])
        return subprocess.run(command, check=False, env=_surroundings(store.tree, folder), stdout=pipe, stderr=pipe)
    finally:
        shutil.rmtree(store.tree.at(folder), ignore_errors=True)


def insist(done: subprocess.CompletedProcess[bytes]) -> bytes:
    """What it wrote; Stop with its last word where it failed."""
    if done.returncode != 0:
        said = (done.stderr or b"").decode(errors="replace").strip().splitlines()
        raise Stop(said[-1] if said else f"it ended with {done.returncode}; see above")
    return done.stdout or b""


def _by_systemd(store: Store, service: str) -> list[str]:
    """A service of its own for one command, which is given the same keys."""
    keys = [f"--property={word}={name}:{path}" for word, name, path in store.loaded(service)]
    return ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--same-dir", f"--uid={ACCOUNTS[service]}",
            f"--property=EnvironmentFile=-{ENVIRONMENT}", "--property=LimitCORE=0", *keys]


def _by_hand(tree: Tree, service: str, words: list[str]) -> list[str]:
    is_other = os.geteuid() == 0 and is_within(tree)
    return inside(tree, ["runuser", "-u", ACCOUNTS[service], "--", *words] if is_other else words)


def _own_words(tree: Tree, name: str) -> list[str]:
    """The program without the chroot before it."""
    words = program(tree, name)
    return words[2:] if words[0] == "chroot" else words


def _surroundings(tree: Tree, folder: str) -> dict[str, str]:
    found = dict(_pairs(tree)) | {key: value for key, value in os.environ.items() if key in _KEPT}
    found |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DOOR_CACHE": seen(tree, "/var/cache/door"),
              "CREDENTIALS_DIRECTORY": seen(tree, folder)}
    if not is_within(tree):
        found |= {"DOOR_STATE": seen(tree, "/var/lib/door"), "DOOR_LINK": seen(tree, "/etc/door/link.toml"),
                  "FLEETHUB_STATE": seen(tree, "/var/lib/fleethub")}
    return found


def _pairs(tree: Tree) -> Iterator[tuple[str, str]]:
    for line in (tree.read(ENVIRONMENT) or b"").decode().splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield key, value


def _lend(store: Store, service: str, folder: str) -> None:
    """Copies of the service's keys in a folder that its account alone can read; in memory on a running machine."""
    tree, owner = store.tree, f"{ACCOUNTS[service]}:{ACCOUNTS[service]}"
    tree.at(folder).mkdir(mode=0o700, parents=True)
    for _, name, path in store.loaded(service):
        tree.write(f"{folder}/{name}", store.open(name, path), 0o400, owner)
    if os.geteuid() == 0:
        os.chown(tree.at(folder), *tree.ids(owner))



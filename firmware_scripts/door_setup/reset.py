"""Reset: what a terminal must forget, and in which order, so that a cut at any moment leaves nothing in service.

    flag      raised first and on the medium before anything else: while it is there no daemon starts, and
              door-reset.service goes on at the next boot
    keys      destroyed next: what they sealed is unreadable from then on, wherever copies of it lie
    state     gallery, journal, certificates, bundles that wait
    link      and the rest of the configuration, unless it is kept
    new key   the terminal is as it was when it was installed
    flag      lowered last

Every step may be done again; each is durable before the next begins.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from door_setup.configuration import PATH as CONFIGURATION
from door_setup.credential import (
    CLEAR_FOLDER,
    KEYS_OF_LINK,
    SEALED_FOLDER,
    TERMINAL_KEY,
    Store,
    destroy,
)
from door_setup.plan import Step
from door_setup.tree import Tree, gone_step, sync_folder
from door_setup.unit_file import FOLDER

FLAG = "/var/lib/door/.resetting"
STATE = "/var/lib/door"
KEPT_FOLDERS = ("gallery", "journal", "link")
EMPTIED = (f"{STATE}/gallery", f"{STATE}/journal", f"{STATE}/link", "/var/spool/door-update", "/run/door")
LINK = ("/etc/door/link.toml", "/etc/door/.provisioning", f"{FOLDER}/door-syncd.service.d/credentials.conf")
COMMISSIONED = "/etc/door/liveness.json"
DERIVED = (f"{FOLDER}/doord.service.d/configured.conf", f"{FOLDER}/door-kiosk.service.d/configured.conf")


def is_as_new(tree: Tree) -> bool:
    """Whether there is nothing to forget: no people, no events, no tie to a hub, no reset under way."""
    has_state = any(any(tree.at(folder).glob("*")) for folder in EMPTIED[:3])
    return not has_state and not any(tree.at(path).exists() for path in (FLAG, LINK[0])) and not list(_keys(tree))[1:]


def is_config_kept(tree: Tree) -> bool:
    """What the flag says; where it was damaged, nothing is kept."""
    try:
        found = json.loads(tree.read(FLAG) or b"")
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("keeps_configuration") is True


def raise_flag(tree: Tree, keeps_configuration: bool) -> None:
    """From now on the reset is bound to be finished."""
    tree.write(FLAG, json.dumps({"keeps_configuration": keeps_configuration}).encode() + b"\n", 0o644)


def steps(store: Store, keeps_configuration: bool) -> Iterator[Step]:
    """What follows once the flag is up and the daemons are down."""
    tree = store.tree
    for path in list(_keys(tree)):
        yield Step(f"destroy {path}", "what was sealed under it is unreadable from then on",
                   lambda path=path: not tree.at(path).exists(),  # type: ignore[misc]
                   partial(destroy, tree.at(path)))
    for folder in EMPTIED:
        yield Step(f"empty {folder}", "people, events, certificates and bundles of whoever had it before",
                   partial(_is_empty, tree.at(folder)), partial(_empty, tree.at(folder)))
    for path in sorted(_strays(tree)):
        yield Step(f"remove {path}", "it is none of the terminal's folders", lambda: False,
                   partial(_remove, tree.at(path)))
    configured = [CONFIGURATION, *_beside(tree, "terminal.toml.*"), COMMISSIONED, *DERIVED]
    for path in (*LINK, *_beside(tree, "*.pem"), *([] if keeps_configuration else configured)):
        yield gone_step(tree, path, "it names a hub, a site or a camera of whoever had it before")
    yield store.make_step(TERMINAL_KEY, "the next gallery is sealed under a key that never sealed another")
    yield store.dropin_step("doord")
    yield store.dropin_step("door-syncd")
    yield gone_step(tree, FLAG, "nothing of what was is left")


def _keys(tree: Tree) -> Iterator[str]:
    """Every file that holds a private key, wherever it has ever been kept; the terminal's own first."""
    for name in (TERMINAL_KEY, *KEYS_OF_LINK):
        for folder in (SEALED_FOLDER, CLEAR_FOLDER):
            # With what a cut left of one that was being written.
            for path in (*tree.at(folder).glob(name), *sorted(tree.at(folder).glob(f".{name}.*"))):
                yield f"{folder}/{path.name}"
    for folder in (STATE, "/etc/door", f"{STATE}/journal"):
        for path in sorted(tree.at(folder).glob("*.key*")):
            yield f"{folder}/{path.name}"


def _beside(tree: Tree, pattern: str) -> list[str]:
    """Files of the configuration's folder: certificates, or what the configuration was before a change."""
    return [f"/etc/door/{path.name}" for path in sorted(tree.at("/etc/door").glob(pattern))]


def _strays(tree: Tree) -> Iterator[str]:
    for path in tree.at(STATE).glob("*"):
        if path.name not in KEPT_FOLDERS and f"{STATE}/{path.name}" != FLAG:
            yield f"{STATE}/{path.name}"


def _is_empty(folder: Path) -> bool:
    return not folder.is_dir() or next(folder.iterdir(), None) is None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        _remove(path, is_synced=False)
    sync_folder(folder)


def _remove(path: Path, is_synced: bool = True) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    if is_synced:
        sync_folder(path.parent)

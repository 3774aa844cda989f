"""Checks of an installed terminal: files, rights, keys, units, clock, disk, camera, pack. They change nothing.

Each yields rows of the self-test's table. What the installed release can tell better is left to its own `doorctl`.
"""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from door_setup import services, unit_file
from door_setup.chroot import seen
from door_setup.configuration import PATH as CONFIGURATION
from door_setup.credential import (
    CLEAR_FOLDER,
    FIRST_WITH_SEALING,
    KEYS_OF_LINK,
    READERS,
    SEALED_FOLDER,
    TERMINAL_KEY,
    Store,
)
from door_setup.plan import Stop
from door_setup.provision import FLAG as PROVISIONING
from door_setup.provision import LINK
from door_setup.release import CURRENT, installed_version, program
from door_setup.reset import FLAG as RESETTING
from door_setup.tree import Tree

LEAST_MB, LITTLE_MB = 50, 200
DAEMONS = ("door-relay", "doord", "door-syncd", "door-kiosk", "fleethub")
RIGHTS = {
    CONFIGURATION: (0o640, "root:door"),
    "/var/lib/door/gallery": (0o2770, "door-sync:door-gallery"),
    "/var/lib/door/journal": (0o2770, "door:door-journal"),
    "/var/lib/door-update": (0o711, "root:root"),
    "/var/spool/door-update": (0o770, "root:door-sync"),
}


class Verdict(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `said` says what to do where something is wrong."""

    name: str
    verdict: Verdict
    said: str


def release_rows(tree: Tree) -> Iterator[Row]:
    version = installed_version(tree)
    if version is None:
        yield Row("release", Verdict.FAIL, f"{CURRENT} points to no whole release: run install")
    else:
        yield Row("release", Verdict.OK, version)
    for flag, remedy in ((RESETTING, "a factory reset was cut short: firmware_scripts/factory_reset --resume"),
                         (PROVISIONING, "provisioning was cut short: run it again with a fresh code")):
        if tree.at(flag).exists():
            yield Row("unfinished", Verdict.FAIL, remedy)


def configuration_row(tree: Tree) -> Row:
    if installed_version(tree) is None or not tree.at(CONFIGURATION).exists():
        return Row("configuration", Verdict.FAIL, f"{CONFIGURATION} is missing: run install --config FILE")
    done = subprocess.run([*program(tree, "doorctl"), "check-config", seen(tree, CONFIGURATION)], capture_output=True,
                          text=True, check=False)
    said = ((done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["cannot be checked"])[-1]
    return Row("configuration", Verdict.OK if done.returncode == 0 else Verdict.FAIL, said.removeprefix("doorctl: "))


def right_rows(tree: Tree) -> Iterator[Row]:
    wrong = [path for path, (mode, owner) in RIGHTS.items() if tree.at(path).exists() and
             not tree.is_as(path, mode, owner)]
    missing = [path for path in RIGHTS if not tree.at(path).exists()]
    for path in missing:
        yield Row("files", Verdict.FAIL, f"{path} is missing: run install")
    for path in wrong:
        mode, owner = RIGHTS[path]
        yield Row("rights", Verdict.FAIL, f"{path} must be {mode:04o} {owner}: run install")
    if not missing and not wrong:
        yield Row("files", Verdict.OK, f"{len(RIGHTS)} files and folders with their rights")


def key_rows(store: Store) -> Iterator[Row]:
    """Whether the keys are there, and from whom they are kept."""
    wanted = (TERMINAL_KEY, *(KEYS_OF_LINK if store.tree.at(LINK).exists() else ()))
    missing = [name for name in wanted if store.path(name) is None]
    if missing:
        yield Row("keys", Verdict.FAIL, f"{', '.join(missing)}: missing; run install, or provision with a fresh code")
        return
    for folder in (SEALED_FOLDER, CLEAR_FOLDER):
        for path in sorted(store.tree.at(folder).glob("*")):
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                yield Row("keys", Verdict.FAIL, f"{folder}/{path.name}: others may read it; chmod 600 it")
    clear = [name for name in wanted if (store.path(name) or "").startswith(f"{CLEAR_FOLDER}/")]
    yield Row("keys", Verdict.WARN if clear else Verdict.OK, f"{', '.join(clear)} lie in clear: whoever has the card "
              f"has them{_advice(store)}" if clear else f"{len(wanted)} keys, {store.way.value}")
    for service in (name for name in READERS if store.tree.at(f"{unit_file.FOLDER}/{name}.service").exists()):
        if not store.dropin_step(service).is_done():
            yield Row("keys", Verdict.FAIL, f"{service} is not given the keys that are there: run install")


def _advice(store: Store) -> str:
    return "" if store.way.name == "CLEAR" else (
        f"; systemd {FIRST_WITH_SEALING} can seal them: remove them and provision anew")


def unit_rows(tree: Tree) -> Iterator[Row]:
    there = tuple(name for name in (*services.TERMINAL, *services.HUB)
                  if tree.at(f"{unit_file.FOLDER}/{name}").exists())
    if not there:
        yield Row("units", Verdict.FAIL, "none is installed: run install")
        return
    enabled = tuple(name for name in there if any(tree.at(unit_file.FOLDER).glob(f"*.wants/{name}")))
    try:
        services.verify(tree, enabled)
        yield Row("units", Verdict.OK, f"{len(enabled)} start at boot, none misspelt")
    except Stop as stop:
        yield Row("units", Verdict.FAIL, str(stop))
    for name in DAEMONS if tree.has_systemd else ():
        if f"{name}.service" in enabled and not services.is_active(f"{name}.service") and is_due(tree, name):
            yield Row(name, Verdict.FAIL, f"does not run: journalctl -u {name}")
    if not tree.has_systemd:
        yield Row("services", Verdict.WARN, "systemd does not run this machine: whether they run was not looked at")


def is_due(tree: Tree, service: str) -> bool:
    """Whether the unit's own conditions let it start."""
    found = unit_file.with_dropins(tree, f"{service}.service")
    for condition in unit_file.values(found, "ConditionPathExists", "Unit"):
        if tree.at(condition.removeprefix("!")).exists() is condition.startswith("!"):
            return False
    return True


def clock_row(tree: Tree) -> Row:
    """Against the day on which the release was built, and whether a network has set it."""
    built = json.loads(tree.read(f"{CURRENT}/release.json") or b"{}").get("built", "")
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if now < built:
        return Row("clock", Verdict.FAIL, f"it says {now}, before the release was built ({built}): give it a time "
                   "server, or timedatectl set-time")
    if not tree.at("/run/systemd/timesync/synchronized").exists():
        return Row("clock", Verdict.WARN, f"it says {now}; no network has set it since the start")
    return Row("clock", Verdict.OK, f"{now}, set from the network")


def disk_row(tree: Tree) -> Row:
    free = shutil.disk_usage(tree.at("/var/lib/door") if tree.at("/var/lib/door").exists() else tree.root).free >> 20
    if free >= LITTLE_MB:
        return Row("disk", Verdict.OK, f"{free} MiB free")
    return Row("disk", Verdict.FAIL if free < LEAST_MB else Verdict.WARN,
               f"{free} MiB free: make room; the journal needs it, and an update needs more")


def watchdog_row(tree: Tree) -> Row:
    there = any(tree.at("/dev").glob("watchdog*"))
    if tree.at("/etc/systemd/system.conf.d/door-watchdog.conf").exists() and there:
        return Row("watchdog", Verdict.OK, "a machine that hangs is restarted")
    return Row("watchdog", Verdict.WARN, "this machine has none: who restarts it when it hangs?" if not there else
               "systemd does not feed it: run install")


def camera_row(tree: Tree) -> Row:
    """What doord says of its camera; where it does not run, what the kernel lists."""
    try:
        state = json.loads(tree.read("/run/door/status.json") or b"{}")
    except ValueError:
        state = {}
    if tree.has_systemd and services.is_active("doord.service") and state:
        word = str(state.get("camera_state", "")).removeprefix("camera_")
        is_fine = word in ("fine", "dark", "bright", "covered")
        return Row("camera", Verdict.OK if word == "fine" else Verdict.WARN if is_fine else Verdict.FAIL,
                   f"{state.get('camera')}: {word}, {state.get('fps')} frames/s")
    found = sorted(path.name for path in tree.at("/sys/class/video4linux").glob("video*"))
    return Row("camera", Verdict.OK if found else Verdict.WARN, f"{', '.join(found)}, not opened here" if found else
               "the kernel lists none; a network camera is tried by `doorctl selftest`")


def pack_row(tree: Tree) -> Row:
    if installed_version(tree) is None:
        return Row("model pack", Verdict.FAIL, "no release could read one: run install")
    done = subprocess.run([*program(tree, "doorctl"), "models", "verify", "--json"], capture_output=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "DOOR_CACHE": seen(tree, "/var/cache/door"),
                               "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        rows = json.loads(done.stdout)
        sound = [f"{row['model_id']}{'' if row['has_liveness'] else ' (NO passive liveness networks)'}"
                 for row in rows if row["is_sound"]]
        faults = [str(row["fault"]) for row in rows if not row["is_sound"]]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["none can be read"]
        return Row("model pack", Verdict.FAIL, said[-1].removeprefix("doorctl: "))
    if faults:
        return Row("model pack", Verdict.FAIL, faults[0])
    return Row("model pack", Verdict.WARN if any("NO" in one for one in sound) else Verdict.OK, ", ".join(sound))

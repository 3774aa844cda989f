"""Services: units, drop-ins, accounts and folders of what runs, as steps of a plan."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from door_setup import unit_file
from door_setup.chroot import is_within
from door_setup.plan import Step, Stop, never_done, run
from door_setup.tree import Tree, file_step, link_step

UNITS = unit_file.FOLDER
TERMINAL = ("door.target", "door-reset.path", "door-reset.service", "door-first.service", "door-trial.service",
            "door-relay.service", "doord.service", "door-syncd.service", "door-kiosk.service", "door-update.path",
            "door-update.service", "door-judge.service", "door-time.service", "door-time.timer")
HUB = ("fleethub.service",)
FIRST_WITH_STEPS = 254  # RestartSteps=
BACKED_OFF = ("door-relay.service", "doord.service", "door-syncd.service", "door-kiosk.service", "fleethub.service")

_REASONS = {
    "door.target": "all of one door, to be started and stopped together",
    "door-reset.path": "notices a factory reset that has begun",
    "door-reset.service": "finishes it, after a cut too, before anything else of the door starts",
    "door-first.service": "makes the board's own key, where it started from an image that has none",
    "door-trial.service": "goes back to the previous release where a new one never proved itself",
    "door-relay.service": "owns the lock's line; outlives doord",
    "doord.service": "sees, decides, writes the journal; no network beyond this machine",
    "door-syncd.service": "has the network, and neither camera nor relay",
    "door-update.path": "notices a bundle that was left",
    "door-update.service": "installs it",
    "door-kiosk.service": "shows the screen",
    "door-judge.service": "watches a new release until it has shown that it works",
    "door-time.service": "keeps the latest time that is known, so that an unset clock passes for no excuse",
    "door-time.timer": "has it kept a few times a day",
    "fleethub.service": "the hub",
}


def account_steps(tree: Tree, folder: Path) -> Iterator[Step]:
    """Accounts, groups and folders. folder: systemd/ of the source."""
    text = (folder / "sysusers.d/door.conf").read_bytes()
    yield file_step(tree, "/etc/sysusers.d/door.conf", text, "one account per daemon, made anew on every board")
    yield Step("make the accounts", "no daemon is root, and none may read what another one owns",
               lambda: has_accounts(tree, text.decode()), lambda: run_for(tree, "systemd-sysusers"))
    yield file_step(tree, "/etc/tmpfiles.d/door.conf", (folder / "tmpfiles.d/door.conf").read_bytes(),
                    "folders and who may write them")
    yield Step("make the folders", "the daemons make none that they could also give away",
               lambda: has_folders(tree, folder), lambda: run_for(tree, "systemd-tmpfiles", "--create", "door.conf"))


def has_accounts(tree: Tree, text: str) -> bool:
    """Whether everything that a sysusers.d file names is there."""
    for line in text.splitlines():
        kind, *names = line.split()[:3] or [""]
        if (kind == "u" and not tree.has_account(names[0])) or (kind == "g" and not tree.has_group(names[0])):
            return False
        if kind == "m" and names[0] not in tree.members(names[1]):
            return False
    return True


def has_folders(tree: Tree, folder: Path) -> bool:
    """Whether every folder that tmpfiles.d names is there, with its rights."""
    text = (folder / "tmpfiles.d/door.conf").read_text(encoding="utf-8")
    rows = [line.split() for line in text.splitlines() if line.startswith("d ")]
    return all(tree.is_as(path, int(mode, 8), f"{account}:{group}") for _, path, mode, account, group, *_ in rows
               if tree.is_live or not path.startswith("/run/"))


def unit_steps(tree: Tree, folder: Path, names: tuple[str, ...], systemd_version: int) -> Iterator[Step]:
    """The units' files, with longer and longer pauses between restarts where systemd knows those."""
    for name in names:
        yield file_step(tree, f"{UNITS}/{name}", (folder / name).read_bytes(), _REASONS[name])
    for name in names:
        if name in BACKED_OFF and systemd_version >= FIRST_WITH_STEPS:
            yield file_step(tree, f"{UNITS}/{name}.d/backoff.conf",
                            b"[Service]\nRestartSteps=6\nRestartMaxDelaySec=60\n",
                            "a service that fails again and again is tried less often")


def dropin_step(tree: Tree, service: str, name: str, text: bytes, why: str) -> Step:
    return file_step(tree, f"{UNITS}/{service}.service.d/{name}.conf", text, why)


def enable_steps(tree: Tree, names: tuple[str, ...]) -> Iterator[Step]:
    """What [Install] says, as links: the same on the machine itself and in a tree."""
    for name in names:
        text = tree.read(f"{UNITS}/{name}")
        found = list(unit_file.settings(text.decode())) if text is not None else []
        for target in unit_file.values(found, "WantedBy", "Install"):
            yield link_step(tree, f"{UNITS}/{target}.wants/{name}", f"../{name}", "it starts at boot")


def verify_step(tree: Tree, names: tuple[str, ...]) -> Step:
    return Step("at the units", "systemd passes over a misspelt setting with no more than a line in its log",
                never_done, lambda: verify(tree, names), is_look=True)


def verify(tree: Tree, names: tuple[str, ...]) -> None:
    """Stop with what systemd has to say about the installed units; nothing where its tools are missing."""
    if shutil.which("systemd-analyze") is None:
        print("        systemd-analyze is missing: the units were not verified")
        return
    # Units that a tree without a system stands on are this machine's, and its programs lie elsewhere.
    root = [f"--root={tree.root}"] if is_within(tree) and not tree.is_live else []
    beside = {} if is_within(tree) else {"SYSTEMD_UNIT_PATH": f"{tree.at(UNITS)}:"}
    files = [f"{UNITS}/{name}" if is_within(tree) else str(tree.at(f"{UNITS}/{name}")) for name in names]
    done = subprocess.run(["systemd-analyze", *root, "--man=no", "verify", *files], capture_output=True, text=True,
                          check=False, env={**os.environ, **beside})
    # What a roll-back would run is not there before the first update.
    said = [line for line in done.stderr.splitlines() if any(name in line for name in names)
            and not ("is not executable" in line and (not is_within(tree) or "/opt/door/previous/" in line))]
    if said:
        raise Stop(f"systemd-analyze verify: {said[0][:300]}")


def start_steps(names: tuple[str, ...], is_changed: bool) -> Iterator[Step]:
    """On the machine itself, where systemd runs it. is_changed: what the services run from is new."""
    running = [name for name in names if name.endswith(".service") and is_changed and is_active(name)]
    yield Step("tell systemd and udev", "units and rules are new or other than they were", lambda: not is_changed,
               _reload)
    for name in running:
        yield Step(f"start {name} anew", "it runs from what was there before", never_done,
                   partial(run, ["systemctl", "restart", name]))
    for name in names:
        yield Step(f"start {name}", "it does not run", partial(is_active, name),
                   partial(run, ["systemctl", "start", name]))


def _reload() -> None:
    run(["systemctl", "daemon-reload"])
    if shutil.which("udevadm") is not None:
        run(["udevadm", "control", "--reload"])
        run(["udevadm", "trigger", "--action=change"])


def is_active(name: str) -> bool:
    done = subprocess.run(["systemctl", "is-active", "--quiet", name], check=False, capture_output=True)
    return done.returncode == 0


def run_for(tree: Tree, program: str, *arguments: str) -> None:
    """A tool of systemd's that can work in another tree than this machine's."""
    if shutil.which(program) is None:
        raise Stop(f"{program} is missing: sudo apt-get install systemd")
    run([program, *([] if tree.is_live else [f"--root={tree.root}"]), *arguments])

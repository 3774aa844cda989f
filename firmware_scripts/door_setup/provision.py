"""provision: ties the terminal to a hub with a one-time code.

Keys are made on the terminal by the installed release's `door-syncd claim`, in memory, and then kept as the service
manager's credentials. The link itself is written last and whole: a provisioning that was cut short leaves the
terminal as it was, and says so. Nothing is changed before the hub has accepted the code.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from door_setup import machine, packages, release
from door_setup.chroot import seen
from door_setup.credential import KEYS_OF_LINK, TERMINAL_KEY, TLS, Store
from door_setup.plan import Step, Stop, WrongUsage, carry_out, guarded, never_done, run
from door_setup.tree import Tree, file_step, gone_step

LINK = "/etc/door/link.toml"
FLAG = "/etc/door/.provisioning"
RESETTING = "/var/lib/door/.resetting"
CERTIFICATES = ("ca.pem", "terminal.pem")
RENEWED = "/var/lib/door/link"  # door-syncd renews the certificates, and may write nowhere in /etc
SHOWN = "/var/lib/door/journal/claim-code"  # as of the kiosk's page for installers
LONGEST_CODE = 64


def main(arguments: list[str] | None = None) -> int:
    """0 tied to the hub, or was already; 1 the hub refuses or cannot be reached; 2 wrong usage."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)
    return guarded("provision", lambda: _provision(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="provision",
        description="Tie this terminal to a hub with the code that `fleethub terminal code` showed; it is asked for "
                    "where it is not given.",
        epilog="example: sudo firmware_scripts/provision --hub https://hub.example:8443 --ca hub-ca.pem")
    parser.add_argument("--hub", required=True, metavar="URL")
    parser.add_argument("--ca", required=True, type=Path, metavar="FILE", help="the hub's certificate authority, PEM")
    code = parser.add_mutually_exclusive_group()
    code.add_argument("--code", help="the one-time code")
    code.add_argument("--code-file", type=Path, metavar="FILE", help="a file that holds it")
    code.add_argument("--shown", action="store_true", help="the code that this terminal's own page shows as QR code, "
                                                          "of which the hub was told: fleethub terminal add --shown")
    parser.add_argument("--again", action="store_true", help="although the terminal is tied to a hub: new keys")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    return parser


def _provision(options: argparse.Namespace) -> int:
    tree = Tree.of(options.root)
    _check(tree, options)
    store = Store.of(tree, packages.systemd_of(tree, machine.look(tree)))
    if tree.at(LINK).exists() and not tree.at(FLAG).exists() and not options.again:
        print(f"nothing to change: {LINK} ties this terminal to a hub; say --again, with a fresh code, for new keys")
        return 0
    _judge_clock(tree)
    staging = f"/run/provision-{secrets.token_hex(6)}"
    if options.dry_run:
        print(f"would claim a code at {options.hub} with keys made here, then:")
        carry_out(_steps(store, staging), is_dry_run=True)
        return 0
    tree.at(staging).mkdir(mode=0o700, parents=True)
    try:
        _claim(tree, options, staging)
        carry_out(_steps(store, staging), is_dry_run=False)
    finally:
        shutil.rmtree(tree.at(staging), ignore_errors=True)
    print(f"tied to {options.hub}; the keys are kept {store.way.value}")
    return 0


def _check(tree: Tree, options: argparse.Namespace) -> None:
    if tree.is_live and os.geteuid() != 0 and not options.dry_run:
        raise Stop("only root may do this: run it with sudo")
    if release.installed_version(tree) is None:
        raise Stop(f"{release.CURRENT}: nothing is installed here; run firmware_scripts/install first")
    if tree.at(RESETTING).exists():
        raise Stop("a factory reset was cut short: finish it with firmware_scripts/factory_reset --resume")
    if not options.ca.is_file():
        raise WrongUsage(f"{options.ca}: no such file; copy the hub's ca.pem here and name it with --ca")


def _judge_clock(tree: Tree) -> None:
    """A clock that was lost does not hinder the claim: servers' certificates hold from 1970 on. It is told all the
    same."""
    built = json.loads(tree.read(f"{release.CURRENT}/release.json") or b"{}").get("built", "")
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if now < built:
        print(f"the clock says {now}, before this release was built ({built}): give the terminal a time server, or "
              "set it with `timedatectl set-time`; until then nobody is let in by the hour")


def _claim(tree: Tree, options: argparse.Namespace, staging: str) -> None:
    """Have the release claim the code; Stop with what to do where the hub does not give the link."""
    words = [*release.program(tree, "door-syncd"), "claim", "--hub", options.hub,
             "--ca", _lent(tree, options.ca, staging), "--code", _code(tree, options)]
    done = subprocess.run(words, env={**os.environ, "DOOR_LINK": seen(tree, f"{staging}/link.toml")},
                          capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = (done.stderr.strip().splitlines() or ["door-syncd claim failed"])[-1].removeprefix("door-syncd: ")
    raise (WrongUsage if done.returncode == 2 else Stop)(said + _remedy(said))


def _remedy(said: str) -> str:
    if "refuses" in said:
        return "; have the hub show a fresh one: fleethub terminal code ID"
    if "certificate" in said and "expired" in said:
        return f"; is this clock right? It says {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    if "cannot be reached" in said:
        return "; check cable, address and name server, then run this again: the code is still good"
    return ""


def _lent(tree: Tree, file: Path, staging: str) -> str:
    """A copy of a file of the caller's where the tree's programs see it."""
    shutil.copy(file, tree.at(f"{staging}/hub-ca.pem"))
    return seen(tree, f"{staging}/hub-ca.pem")


def _code(tree: Tree, options: argparse.Namespace) -> str:
    if options.code is not None:
        code = options.code
    elif options.shown:
        code = (tree.read(SHOWN) or b"").decode("ascii", "replace")
        if not code:
            raise Stop("this terminal shows no code yet: look at its page /setup, and tell the hub of the code there")
    elif options.code_file is not None:
        with options.code_file.open(encoding="ascii", errors="replace") as file:
            code = file.read(LONGEST_CODE + 2)
    elif sys.stdin.isatty():
        code = getpass.getpass("claim code: ")
    else:
        raise WrongUsage("give the claim code with --code or --code-file, or --shown for this terminal's own")
    code = code.strip()
    if not 0 < len(code) <= LONGEST_CODE or not code.isascii():
        raise WrongUsage("a claim code looks like 8K2M4-Q1TZ9-0RW3X-7HCVN")
    return str(code)


def _steps(store: Store, staging: str) -> Iterator[Step]:
    tree = store.tree
    yield file_step(tree, FLAG, b"", "should this be cut short, self-test and a second run know of it")
    yield store.make_step(TERMINAL_KEY, "gallery and evidence are sealed under it")
    for name in KEYS_OF_LINK:
        yield Step(f"keep {name}, {store.way.value}", "it never leaves this terminal",
                   partial(_is_kept, store, name, staging), partial(_keep, store, name, staging))
    for name in CERTIFICATES:
        for folder, owner in (("/etc/door", "root:door"), (RENEWED, "door-sync:door-sync")):
            yield _late(tree, f"{folder}/{name}", f"{staging}/{name}", owner)
    yield store.dropin_step("doord")
    yield store.dropin_step("door-syncd")
    yield gone_step(tree, SHOWN, "a code is good once; should there be no link again, the page shows a fresh one")
    yield Step(f"write {LINK}", "from now on the hub says who may enter", partial(_is_linked, tree, staging),
               partial(_link, tree, staging))
    yield gone_step(tree, FLAG, "it is whole")
    if tree.has_systemd:
        yield Step("start door-syncd and doord anew", "they read the link when they start", never_done, _restart)


def _late(tree: Tree, path: str, staged: str, owner: str) -> Step:
    """A file whose content is there only once the hub has answered."""
    def step() -> Step:
        return file_step(tree, path, tree.read(staged) or b"", "", 0o640, owner)

    return Step(f"write {path}", "the hub's authority and this terminal's certificate", lambda: step().is_done(),
                lambda: step().act())


def _is_kept(store: Store, name: str, staging: str) -> bool:
    path, fresh = store.path(name), store.tree.read(f"{staging}/{name}")
    return path is not None and fresh is not None and store.open(name, path) == fresh


def _keep(store: Store, name: str, staging: str) -> None:
    store.put(name, store.tree.at(f"{staging}/{name}").read_bytes())


def _link_text(tree: Tree, staging: str) -> bytes:
    """What the hub gave, with the places that an installed terminal has for keys and certificates."""
    places = {"ca": f"{RENEWED}/ca.pem", "certificate": f"{RENEWED}/terminal.pem",
              "key": f"/run/credentials/door-syncd.service/{TLS}"}
    lines = [f'{key} = "{seen(tree, path)}"\n' for key, path in places.items()]
    return (tree.read(f"{staging}/link.toml") or b"") + "".join(lines).encode()


def _is_linked(tree: Tree, staging: str) -> bool:
    return tree.read(LINK) == _link_text(tree, staging)


def _link(tree: Tree, staging: str) -> None:
    tree.write(LINK, _link_text(tree, staging), 0o644)


def _restart() -> None:
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "restart", "door-syncd.service", "doord.service"])

"""Files that are cut short, overwritten or rotten when a daemon starts: it starts and says so, or it refuses in one
line; and nobody is let in whom nobody has enrolled.

DOOR_FILES sets how often each file is damaged.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from fault_figures import Figure
from nursery import DOORD, SYNCD, Nursery
from store_samples import enrolled, release
from test_store_damage import damage

from device.clock import SystemClock, boot_id
from device.store.journal import Journal
from device.store.places import Places, make_folders, places
from device.store.seal import load_key
from device.store.trust import Opener
from sync.wire.csr import new_tls_key
from sync.wire.sign import Signer

TIMES = int(os.environ.get("DOOR_FILES", "1"))
PEOPLE = 20
WAIT_S = 60.0
CONFIG = '[door]\nlock = "strike"\nrelease_s = 4.0\n[camera]\nsource = "stills"\n[face]\nliveness = "none"\n'
OF_DOORD = ("etc/terminal.toml", "state/gallery/gallery.db", "state/journal/journal.db", "state/terminal.key")
OF_LINKED = ("etc/link.toml", "etc/sealing.key", "state/gallery/gallery.db")
OF_SYNCD = (*OF_LINKED, "etc/signing.key", "state/journal/journal.db", "state/terminal.key")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A terminal's files as they should be."""
    root = tmp_path_factory.mktemp("whole")
    etc, where = root / "etc", where_of(root)
    etc.mkdir()
    (etc / "terminal.toml").write_text(CONFIG.replace("stills", str(root / "etc")))
    make_folders(where)
    enrolled(where.gallery_db, PEOPLE, load_key(where)).close()
    journal = Journal.open(where.journal_db, SystemClock(), boot_id())
    for number in range(30):
        journal.append(release(number))
    journal.close()
    for name, key in (("signing.key", Signer.new().private_bytes()), ("sealing.key", Opener.new().private_bytes()),
                      ("tls.key", new_tls_key())):
        (etc / name).write_bytes(key)
        (etc / name).chmod(0o600)
    (etc / "link.toml").write_text(
        f'terminal_id = "t"\nsite = "s"\nbroker_host = "127.0.0.1"\nbroker_port = 9\nhub_url = ""\n'
        f'hub_signing = ["{"ab" * 32}"]\nhub_sealing = "{"cd" * 32}"\n')
    return root


def where_of(root: Path) -> Places:
    return places({"DOOR_STATE": str(root / "state")})


def harmed(whole: Path, name: str, root: Path, chance: random.Random) -> Path:
    """A copy of all files, one of them damaged."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(whole, root)
    path = root / name
    data = path.read_bytes()
    path.write_bytes(b"" if chance.random() < 0.2 else damage(data, chance))
    return root


def environment() -> dict[str, str]:
    return {**os.environ, "GPIOZERO_PIN_FACTORY": "mock"}


def refusal(said: str, daemon: str, code: int) -> None:
    """It ended in order, with one line that says why; warnings may precede it."""
    assert code in (1, 2), said
    last = said.splitlines()[-1]
    assert last.startswith(f"{daemon}: "), said
    assert len(last) > len(f"{daemon}: ") + 20
    assert "Traceback" not in said


@pytest.mark.timeout(120 + 60 * TIMES)
@pytest.mark.parametrize("is_linked", [False, True], ids=["alone", "linked"])
def test_doord_starts_and_says_so_or_refuses_in_one_line(whole: Path, tmp_path: Path, is_linked: bool,
                                                         figure: Figure, pack: Any) -> None:
    chance, started, count = random.Random(1), 0, 0
    with Nursery(DOORD, environment()) as nursery:
        for name in (OF_LINKED if is_linked else OF_DOORD) * TIMES:
            root = harmed(whole, name, tmp_path / "here", chance)
            nursery.start(["--config", str(root / "etc/terminal.toml"), "--until-ready"], tmp_path / "said",
                          DOOR_STATE=str(root / "state"),
                          DOOR_LINK=str(root / "etc" / ("link.toml" if is_linked else "none.toml")))
            code, said = nursery.ended(), (tmp_path / "said").read_text(errors="replace")
            count += 1
            if code == 0:
                status = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
                assert (status["phase"], status["mode"]) == ("secure", "normal")
                assert status["people"] in range(PEOPLE + 1)
                assert "Traceback" not in said
                started += 1
            else:
                refusal(said, "doord", code)
    if is_linked:
        assert started == count  # the door never depends on the tie to its hub
    figure("F4c" if is_linked else "F4b",
           f"doord {'with a hub' if is_linked else 'alone'}, {count} starts on damaged files: {started} in service, "
           f"{count - started} refused in one line")


@pytest.mark.timeout(120 + 60 * TIMES)
def test_door_syncd_starts_and_goes_on_or_refuses_in_one_line(whole: Path, tmp_path: Path, figure: Figure) -> None:
    chance, started, count = random.Random(2), 0, 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Nursery(SYNCD, environment()) as nursery:
        manager.bind(str(tmp_path / "notify"))
        for name in OF_SYNCD * TIMES:
            root = harmed(whole, name, tmp_path / "here", chance)
            pid = nursery.start(["run"], tmp_path / "said", DOOR_STATE=str(root / "state"),
                                DOOR_LINK=str(root / "etc/link.toml"), NOTIFY_SOCKET=str(tmp_path / "notify"))
            is_ready = ready_or_ended(pid, manager)
            if is_ready:
                os.kill(pid, signal.SIGTERM)
            code, said = nursery.ended(), (tmp_path / "said").read_text(errors="replace")
            count += 1
            if is_ready:
                assert code == 0, said
                assert "Traceback" not in said
                started += 1
            else:
                refusal(said, "door-syncd", code)
    figure("F4d", f"door-syncd, {count} starts on damaged files: {started} at work, {count - started} refused in one "
                  "line")


def ready_or_ended(pid: int, manager: socket.socket) -> bool:
    """Whether it has said READY; false where it ended before."""
    deadline, process = time.monotonic() + WAIT_S, os.pidfd_open(pid)
    try:
        while True:
            readable, _, _ = select.select([manager, process], [], [], deadline - time.monotonic())
            assert readable, "neither ready nor over"
            if manager in readable:
                if b"READY=1" in manager.recv(4096):
                    return True
            else:
                return False
    finally:
        os.close(process)

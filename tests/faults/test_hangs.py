"""A native call of the vision thread that never returns: the alarm, the watchdog, the lock, and the next start."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fault_figures import Figure
from sync_samples import wait_until
from test_app import enrol_person

from device.face.card import Card
from device.store.journal import JournalReader
from device.store.places import Places, make_folders, places

HERE = Path(__file__).resolve().parent.parent
WAIT_S = 60.0


class Manager:
    """The service manager's ear: how many signs of life there were."""

    def __init__(self, path: Path) -> None:
        self.path, self._kicks = path, 0
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(path))
        self._channel.setblocking(False)

    def kicks(self) -> int:
        while True:
            try:
                self._kicks += b"WATCHDOG=1" in self._channel.recv(4096)
            except BlockingIOError:
                return self._kicks

    def close(self) -> None:
        self._channel.close()


class Bench:
    """A door with an enrolled person before its camera, its relay, and what to hang it with."""

    def __init__(self, folder: Path, pack: Card, portrait: npt.NDArray[np.uint8]) -> None:
        self.where: Places = places()
        make_folders(self.where)
        self.person = enrol_person(self.where, pack, portrait)
        self._picture, self._socket, self.hang = folder / "portrait.png", folder / "relay.sock", folder / "hang"
        cv2.imwrite(str(self._picture), portrait)
        self.manager = Manager(folder / "notify")
        self._relay = subprocess.Popen([sys.executable, HERE / "relay_child.py", self._socket], text=True,
                                       stdout=subprocess.PIPE)
        assert self._relay.stdout is not None
        self._relay.stdout.readline()

    def start(self, how: str) -> subprocess.Popen[str]:
        """A door that has released."""
        words = [sys.executable, HERE / "hung_child.py", self._socket, self._picture, self.hang, how]
        door = subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert door.stdout is not None
        assert door.stdout.readline() == "started\n"
        assert door.stdout.readline() == "granted\n"
        return door

    def pin_after(self) -> int:
        """The state of the lock's pin once the door's end of the line is gone."""
        assert self._relay.stdout is not None
        state: int = json.loads(self._relay.stdout.readline())["state"]
        return state

    def reasons(self) -> list[tuple[str, float]]:
        reader = JournalReader.open(self.where.journal_db)
        try:
            assert reader.verify() == reader.head
            return [(one.reason, one.mono) for one in reader.last(1000)]
        finally:
            reader.close()

    def close(self) -> None:
        self._relay.kill()
        self._relay.communicate()
        self.manager.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Card,
          portrait: npt.NDArray[np.uint8]) -> Iterator[Bench]:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    found = Bench(tmp_path, pack, portrait)
    yield found
    found.close()


def end(door: subprocess.Popen[str]) -> None:
    door.kill()
    door.communicate()


@pytest.mark.timeout(400)
def test_an_inference_that_hangs_raises_the_alarm_and_ends_the_process_and_the_next_start_is_well(
        bench: Bench, figure: Figure) -> None:
    door = bench.start("free")
    try:
        bench.hang.touch()
        assert door.wait(WAIT_S) == 1
    finally:
        end(door)
    hung = float(bench.hang.read_text())
    assert bench.pin_after() == 0
    alarms = [mono - hung for reason, mono in bench.reasons()
              if reason == "vision_silent" and mono > hung]
    assert len(alarms) == 1
    status = json.loads((bench.where.root / "status.json").read_text())
    assert "vision_silent" in status["degraded"]
    assert bench.manager.kicks() == status["watchdog_kicks"]  # none since the alarm
    granted = sum(reason == "face_granted" for reason, _ in bench.reasons())
    bench.hang.unlink()
    end(bench.start("free"))
    assert bench.pin_after() == 0
    assert sum(reason == "face_granted" for reason, _ in bench.reasons()) > granted
    figure("F42", f"an inference that hangs while the door is released: alarm after {alarms[0]:.1f} s, the process "
                  "ended by itself, lock off, well again after the next start")


@pytest.mark.timeout(400)
def test_an_inference_that_holds_the_whole_process_is_not_kicked_on(bench: Bench, figure: Figure) -> None:
    door = bench.start("held")
    try:
        bench.hang.touch()
        wait_until(bench.hang.read_text, WAIT_S)
        time.sleep(0.2)  # a sign of life may be on its way
        before = bench.manager.kicks()
        time.sleep(4.0)
        assert bench.manager.kicks() == before
        assert door.poll() is None
    finally:
        end(door)
    assert bench.pin_after() == 0
    bench.hang.unlink()
    end(bench.start("held"))
    figure("F62", "a process that is held by a hung call: no sign of life to the watchdog from then on; well again "
                  "after the next start")

"""A private Mosquitto for a first try and for one site: started, watched and restarted by the hub.

It listens on loopback unless told otherwise, always with TLS and client certificates. Its port is chosen once and
kept, because terminals are told it when they are claimed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from device.clock import Clock
from device.errors import TerminalError
from device.threads import Worker
from sync.hub.broker_config import Files, mosquitto_config

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_START_S = 10.0
_STOP_S = 5.0
_LOG_BYTES = 5_000_000
_RETRIES_S = (0.2, 1.0, 5.0)


class BrokerMissing(TerminalError, OSError):
    """Mosquitto is not installed, or does not start."""

    exit_code = 2


class Broker:
    """One Mosquitto process on a folder that holds its certificates, access list and state.

    The caller writes certificates, revocations and access list into `files` before `start`, and calls `reload`
    after changing them.
    """

    def __init__(self, folder: Path, clock: Clock, address: str = LOOPBACK, port: int | None = None) -> None:
        self.files = Files(folder)
        self.address = address
        self.restarts = 0
        self._clock = clock
        self._log = folder / "mosquitto.log"
        self._pid = folder / "mosquitto.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: Worker | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.files.state.mkdir(exist_ok=True, mode=0o700)
        self.port = port or _kept_port(folder / "port", address)

    def start(self) -> None:
        """Start it and keep it running; BrokerMissing where it does not come up within 10 s."""
        self._end_orphan()
        me = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
        self.files.config.write_text(mosquitto_config(self.files, self.port, self.address, me))
        self._await_listening(self._spawn())
        self._keeper = Worker("broker", self._keep, self._clock)
        self._keeper.start()

    def stop(self) -> None:
        """End it, with its state written to disk."""
        if self._keeper:
            self._keeper.stop()
            self._keeper = None
        process, self._process = self._process, None
        if process:
            _end(process)
        self._pid.unlink(missing_ok=True)

    def reload(self) -> None:
        """Let it read access list, certificates and revocations anew; sessions stay."""
        process = self._process
        if process and process.poll() is None:
            process.send_signal(signal.SIGHUP)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.poll() is None else None

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise BrokerMissing("there is no mosquitto; run: sudo apt-get install -y mosquitto")
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as sink:
            process = subprocess.Popen([*_with_us(), program, "-c", str(self.files.config)],
                                       stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True)
        self._pid.write_text(str(process.pid))
        self._process = process
        return process

    def _await_listening(self, process: subprocess.Popen[bytes]) -> None:
        give_up = self._clock.mono() + _START_S
        while self._clock.mono() < give_up and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 0.5):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        self.stop()
        raise BrokerMissing(f"mosquitto did not start: {_last_line(self._log)} (see {self._log})")

    def _keep(self, worker: Worker) -> None:
        failures = 0
        while not worker.stopping.wait(0.1):
            worker.beat()
            process = self._process
            if process is None or process.poll() is None:
                failures = 0 if process else failures
                continue
            log.error("the broker ended with %d; restarting it", process.returncode)
            self.restarts += 1
            if worker.stopping.wait(_RETRIES_S[min(failures, len(_RETRIES_S) - 1)]):
                return
            failures += 1
            self._spawn()
            worker.stopping.wait(0.5)

    def _end_orphan(self) -> None:
        """A hub that was killed leaves its broker behind; it holds the port."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid.read_text())
            for way in (signal.SIGTERM, signal.SIGKILL):
                if str(self.files.config).encode() not in _command(pid):
                    return
                os.kill(pid, way)
                _wait_until(lambda: not _command(pid), self._clock, _STOP_S)


def _with_us() -> list[str]:
    """Has the kernel end it should the hub be killed; without util-linux's setpriv the next start ends it."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM"] if program else []


def _kept_port(path: Path, address: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = int(probe.getsockname()[1])
    path.write_text(str(port))
    return port


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_S)


def _command(pid: int) -> list[bytes]:
    """The arguments of a running process; empty where there is none, or it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def _wait_until(is_so: Callable[[], bool], clock: Clock, seconds: float) -> None:
    pause, give_up = threading.Event(), clock.mono() + seconds
    while not is_so() and clock.mono() < give_up:
        pause.wait(0.02)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1][:300] if lines else "no word in its log"

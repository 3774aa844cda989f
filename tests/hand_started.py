"""Services of a tree started without systemd: by the command lines, environments and keys of their own units."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from firmware_tree import Tree
from patience import SLOWER

from door_setup import unit_file  # isort: skip

WAIT_S = 90.0 * SLOWER
# What makes time pass slower for everything that a test starts; see arm64/groups.py.
_TIME = {name: value for name, value in os.environ.items() if name == "LD_PRELOAD" or name.startswith("FAKETIME")}
_MOVED = ("/etc/door", "/opt/door", "/run/", "/var/lib/door", "/var/lib/fleethub", "/var/cache/door")


class HandStarted:
    """One service. notices: what it has told the service manager so far."""

    def __init__(self, root: Path, unit: str) -> None:
        self._tree, self.unit = Tree(root), unit
        self.notices: list[str] = []
        self.said: list[str] = []
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify = root / "run" / f"{unit}.notify"
        notify.unlink(missing_ok=True)
        self._channel.bind(str(notify))
        found = unit_file.with_dropins(self._tree, f"{unit}.service")
        self.type = unit_file.value(found, "Type")
        given = unit_file.environment(self._tree, found)
        words = [self._moved(word) for word in unit_file.command(found, given)]
        if words[0].startswith(f"{root}/opt/door/current/bin/") and not words[0].endswith("/python"):
            words.insert(0, f"{root}/opt/door/current/bin/python")  # its first line names the place on the terminal
        environment = {
            "PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(notify), "DOOR_STATE": self._moved("/var/lib/door"),
            "DOOR_LINK": self._moved("/etc/door/link.toml"), "FLEETHUB_STATE": self._moved("/var/lib/fleethub"),
            "CREDENTIALS_DIRECTORY": self._credentials(found), "PYTHONUNBUFFERED": "1", **_TIME,
            **{name: self._moved(value) for name, value in given.items()}}
        for folder in unit_file.value(found, "RuntimeDirectory").split():
            (root / "run" / folder).mkdir(exist_ok=True)
        self.process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, cwd=self._moved(unit_file.value(found, "WorkingDirectory")))
        for body in (self._listen, self._read):
            threading.Thread(target=body, daemon=True).start()

    def __enter__(self) -> HandStarted:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._channel.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def ready(self) -> None:
        """Wait until it has said so, or, of another type, until it has been at it for a moment."""
        if self.type == "notify":
            self.wait_for(lambda: any("READY=1" in notice for notice in self.notices), "it never said READY")

    def wait_for(self, happened, otherwise: str) -> None:  # type: ignore[no-untyped-def]
        until = time.monotonic() + WAIT_S
        while not happened():
            assert self.process.poll() is None, f"{self.unit} ended: {self.said[-5:]}"
            assert time.monotonic() < until, f"{self.unit}: {otherwise}: {self.said[-5:]}"
            time.sleep(0.05)

    def _credentials(self, found: list[unit_file.Setting]) -> str:
        folder = self._tree.at(f"/run/credentials/{self.unit}.service")
        folder.mkdir(parents=True, exist_ok=True)
        for credential in unit_file.values(found, "LoadCredential"):
            name, _, path = credential.partition(":")
            (folder / name).write_bytes(self._tree.at(path).read_bytes())
        return str(folder)

    def _moved(self, word: str) -> str:
        """A path of the terminal's as it lies in the tree."""
        return str(self._tree.at(word)) if word.startswith(_MOVED) else word

    def _listen(self) -> None:
        while True:
            try:
                self.notices.append(self._channel.recv(4096).decode())
            except OSError:
                return

    def _read(self) -> None:
        try:
            for line in self.process.stdout or ():
                self.said.append(line.rstrip())
        except ValueError:
            return

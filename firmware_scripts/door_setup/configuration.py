"""terminal.toml as the services' units must know it: which devices and which one address doord may reach."""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from door_setup.chroot import seen
from door_setup.machine import Board
from door_setup.plan import Step, WrongUsage
from door_setup.release import program
from door_setup.tree import Tree, file_step

PATH = "/etc/door/terminal.toml"
MOST_BYTES = 256 << 10
_SERIAL = re.compile(r"/dev/(tty(?:USB|ACM|AMA|THS|S))\d")

REHEARSAL = """# A door in rehearsal: no pin is moved, and the visitors are rendered. For a real door write this anew.

[door]
lock = "strike"
id = "rehearsal"
release_s = 1.0

# So small and slow that a Raspberry Pi can render it.
[camera]
source = "rehearsal"
width = 640
height = 480
fps = 15.0
"""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parsed configuration with all its defaults."""

    table: dict[str, Any]

    def get(self, section: str, key: str) -> Any:
        return self.table.get(section, {}).get(key)

    @property
    def is_rehearsal(self) -> bool:
        return bool(self.get("camera", "source") == "rehearsal")

    @property
    def has_screen(self) -> bool:
        return bool(self.get("kiosk", "enabled"))

    @property
    def cameras(self) -> list[str]:
        found = (self.get("camera", key) for key in ("source", "infrared"))
        return [source for source in found if isinstance(source, str)]


def read(tree: Tree, path: str = PATH) -> Configuration:
    """A configuration of the tree, judged by the installed release; WrongUsage in that one's words."""
    done = subprocess.run([*program(tree, "doorctl"), "check-config", "--json", seen(tree, path)],
                          capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it cannot be checked"]
        raise WrongUsage(said[-1].removeprefix("doorctl: "))
    return Configuration(json.loads(done.stdout))


def judge(tree: Tree, data: bytes) -> None:
    """WrongUsage where the installed release would refuse this as terminal.toml; nothing of it stays."""
    folder = f"/etc/door/.judged-{secrets.token_hex(6)}"
    tree.at(folder).mkdir(parents=True)
    try:
        if len(data) > MOST_BYTES:
            raise WrongUsage("terminal.toml: too large for a configuration")
        tree.at(f"{folder}/terminal.toml").write_bytes(data)
        read(tree, f"{folder}/terminal.toml")
    except WrongUsage as wrong:
        raise WrongUsage(str(wrong).replace(f"{seen(tree, folder)}/", "")) from None
    finally:
        shutil.rmtree(tree.at(folder))


def configuration_step(tree: Tree, data: bytes) -> Step:
    """terminal.toml with this content, which is judged before it takes the place of another."""
    step = file_step(tree, PATH, data, "what is wired and attached; all else follows from it", 0o640, "root:door")

    def act() -> None:
        judge(tree, data)
        step.act()

    return Step(step.what, step.why, step.is_done, act)


def dropin(found: Configuration, board: Board) -> bytes:
    """What doord's unit must allow beyond what every door needs."""
    lines = ["# Written by the installation from terminal.toml; run it again after changes there.", "[Service]"]
    for address in camera_addresses(found.cameras):
        lines.append(f"IPAddressAllow={address}")
    for port in (found.get("reader", "osdp"), found.get("controller", "osdp")):
        lines += [f"DeviceAllow=char-{kind} rw" for kind in serial_kinds(port)]
    if found.get("reader", "usb"):
        lines.append("DeviceAllow=char-input r")
    if board is Board.PI and not found.is_rehearsal:
        lines += ["# libcamera hears from udev which cameras there are.", "RestrictAddressFamilies=AF_NETLINK"]
    if board is Board.JETSON and any(source.startswith("jetson") for source in found.cameras):
        lines += ["# The camera daemon's socket lies in /tmp, and the GPU's devices have no common name.",
                  "PrivateTmp=no", "DevicePolicy=auto", "PrivateIPC=no", "MemoryDenyWriteExecute=no"]
    if found.is_rehearsal:
        script = "/opt/door/firmware/door_setup/rehearsal.py"
        lines += ["# doord before the rehearsal's camera.", "ExecStart=",
                  f"ExecStart=/opt/door/current/bin/python -I {script} --config {PATH} "
                  "--relay-socket /run/door/relay.sock"]
    return ("\n".join(dict.fromkeys(lines)) + "\n").encode()


def kiosk_dropin(found: Configuration) -> bytes:
    return ("# Written by the installation from terminal.toml.\n[Service]\n"
            f"Environment=KIOSK_URL=http://127.0.0.1:{found.get('kiosk', 'port')}/\n").encode()


def camera_addresses(cameras: list[str]) -> list[str]:
    """The numeric addresses of network cameras. WrongUsage for a name: doord may not ask a name server, and what a
    name stands for tomorrow is not known today."""
    addresses = []
    for source in cameras:
        if not source.lower().startswith("rtsp://"):
            continue
        host = urlsplit(source).hostname or ""
        try:
            addresses.append(str(ipaddress.ip_address(host)))
        except ValueError:
            raise WrongUsage(f"camera: write the network camera's address in place of its name {host[:80]!r}"
                             + _hint(host)) from None
    return addresses


def serial_kinds(port: object) -> list[str]:
    """Names of the kernel's drivers of a serial port; of adapters named by their place both that there are."""
    if not isinstance(port, str):
        return []
    found = _SERIAL.match(port)
    return [found[1]] if found else ["ttyUSB", "ttyACM"]


def _hint(host: str) -> str:
    try:
        return f": it is {socket.gethostbyname(host)} now"
    except (OSError, UnicodeError):
        return ""

"""Every socket on which a daemon listens, asked of the kernel: a terminal's on loopback alone, and only those that
were asked for; a hub's with TLS alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fault_figures import Figure
from hub_samples import open_hub
from nursery import DOORD, SYNCD, Nursery
from sync_samples import wait_until
from test_broken_files import environment, ready_or_ended, whole

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
HUB = (sys.executable, "-c", "import sys; from sync.hub.cli import main; sys.exit(main())")
OPEN = {"kiosk": "[kiosk]\nenabled = true\nport = 0\n", "metrics": "[metrics]\nport = 0\n"}
MQTT_CONNECT = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc"

__all__ = ["whole"]  # a fixture


def listeners(pid: int) -> dict[int, set[str]]:
    """Port -> addresses, as the kernel writes them, of a process and its descendants; TCP that listens, and UDP."""
    found: dict[int, set[str]] = {}
    sockets = {name for one in family(pid) for name in descriptors(one)}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            address, _, port = words[1].partition(":")
            is_open = words[3] == "0A" or table.startswith("udp")
            if is_open and f"socket:[{words[9]}]" in sockets:
                found.setdefault(int(port, 16), set()).add(address)
    return found


def family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            for child in (task / "children").read_text().split():
                yield from family(int(child))


def descriptors(pid: int) -> Iterator[str]:
    """What a process's descriptors name; a file that is closed while we look is no listener."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield os.readlink(path)


@pytest.mark.parametrize("asked", [(), ("kiosk",), ("metrics",), ("kiosk", "metrics")], ids="-".join)
def test_a_terminal_listens_on_loopback_alone_and_only_where_it_was_asked_to(
        whole: Path, tmp_path: Path, asked: tuple[str, ...], pack: Any, figure: Figure) -> None:
    config = tmp_path / "terminal.toml"
    config.write_text((whole / "etc/terminal.toml").read_text() + "".join(OPEN[name] for name in asked))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Nursery(DOORD, environment()) as nursery:
        manager.bind(str(tmp_path / "notify"))
        pid = nursery.start(["--config", str(config)], tmp_path / "said", DOOR_STATE=str(tmp_path / "state"),
                            DOOR_LINK=str(tmp_path / "none.toml"), NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert ready_or_ended(pid, manager), (tmp_path / "said").read_text()
        found = listeners(pid)
        os.kill(pid, signal.SIGTERM)
        assert nursery.ended() == 0
    assert len(found) == len(asked)
    assert set().union(*found.values()) <= LOOPBACK
    figure("F51", f"doord with {' and '.join(asked) or 'nothing'} asked for listens on {len(found)} ports, on "
                  "loopback alone")


def test_door_syncd_listens_nowhere(whole: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Nursery(SYNCD, environment()) as nursery:
        manager.bind(str(tmp_path / "notify"))
        pid = nursery.start(["run"], tmp_path / "said", DOOR_STATE=str(tmp_path / "state"),
                            DOOR_LINK=str(whole / "etc/link.toml"), NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert ready_or_ended(pid, manager), (tmp_path / "said").read_text()
        found = listeners(pid)
        os.kill(pid, signal.SIGTERM)
        assert nursery.ended() == 0
    assert found == {}


@pytest.mark.timeout(300)
def test_every_port_of_a_hub_speaks_tls_or_nothing(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
                                                   figure: Figure) -> None:
    open_hub(tmp_path / "hub", tmp_path_factory).close()
    with (tmp_path / "said").open("wb") as said:
        hub = subprocess.Popen([*HUB, "--state", str(tmp_path / "hub"), "run", "--with-broker", "--listen",
                                "127.0.0.1:0"], stdout=said, stderr=said)
    try:
        wait_until(lambda: "hub runs" in (tmp_path / "said").read_text(), 90)
        found = listeners(hub.pid)
        assert len(found) >= 2
        for port in found:
            for words in (b"GET /api/v1/groups HTTP/1.1\r\nHost: x\r\n\r\n", MQTT_CONNECT):
                assert not is_answered(port, words), port
    finally:
        hub.terminate()
        assert hub.wait(60) == 0
    figure("F51b", f"a hub listens on {len(found)} ports, and answers plain words on none")


def is_answered(port: int, words: bytes) -> bool:
    """Whether plain words bring more than an alert of TLS (RFC 8446, section 5.1: type 21) or its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as stranger:
        try:
            stranger.sendall(words)
            stranger.shutdown(socket.SHUT_WR)
            answer = stranger.recv(4096)
        except TimeoutError:
            raise
        except OSError:  # the port has hung up already
            return False
    return bool(answer) and answer[0] != 21

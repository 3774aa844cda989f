"""How this machine is connected, read from the kernel's own files: the installer asks for addresses, not tools."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_MOST = 16


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface; speed_mbit is 0 where it has none to say."""

    name: str
    is_up: bool
    hardware: str
    addresses: tuple[str, ...]
    speed_mbit: int = 0


@dataclass(frozen=True, slots=True)
class Network:
    """gateway is "" where there is no way out of the local network."""

    interfaces: tuple[Interface, ...]
    gateway: str
    name_servers: tuple[str, ...]


def network(root: Path = Path("/")) -> Network:
    """What the kernel says now, loopback left out."""
    names = sorted(path.name for path in _entries(root / "sys/class/net") if path.name != "lo")
    six = ipv6_of(_text(root / "proc/net/if_inet6"))
    interfaces = tuple(_interface(root / "sys/class/net" / name, six.get(name, ())) for name in names[:_MOST])
    return Network(interfaces, gateway_of(_text(root / "proc/net/route")),
                   name_servers_of(_text(root / "etc/resolv.conf")))


def gateway_of(table: str) -> str:
    """The default route's gateway in /proc/net/route, where addresses are little-endian hexadecimal."""
    for line in table.splitlines()[1:]:
        columns = line.split()
        with contextlib.suppress(ValueError, struct.error, IndexError):
            if columns[1] == "00000000" and int(columns[3], 16) & 2:
                return str(ipaddress.IPv4Address(struct.pack("<I", int(columns[2], 16))))
    return ""


def ipv6_of(table: str) -> dict[str, tuple[str, ...]]:
    """Interface -> addresses of /proc/net/if_inet6."""
    found: dict[str, tuple[str, ...]] = {}
    for line in table.splitlines():
        columns = line.split()
        with contextlib.suppress(ValueError, IndexError):
            address = str(ipaddress.IPv6Address(int(columns[0], 16)))
            found[columns[5]] = (*found.get(columns[5], ()), address)
    return found


def name_servers_of(text: str) -> tuple[str, ...]:
    words = (line.split() for line in text.splitlines() if line.startswith("nameserver"))
    return tuple(found[1] for found in words if len(found) == 2)[:3]


def _interface(folder: Path, six: tuple[str, ...]) -> Interface:
    four = _ipv4(folder.name)
    speed = 0
    with contextlib.suppress(ValueError):
        speed = max(int(_text(folder / "speed") or 0), 0)
    return Interface(folder.name, _text(folder / "operstate").strip() in ("up", "unknown"),
                     _text(folder / "address").strip(), (*four, *six), speed)


def _ipv4(name: str) -> tuple[str, ...]:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asked = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        return (socket.inet_ntoa(asked[20:24]),)
    return ()


def _entries(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def _text(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""

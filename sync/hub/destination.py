"""Where a webhook goes: an address that was checked when it was given, and its network addresses whenever it is used.

What decides is the network address that is connected to, not the name: a name that leads to this machine, or to a
neighbour that only answers here (link-local, where clouds keep their instances' credentials), is refused, whatever it
led to before. Called by `webhooks` and `posting`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Union
from urllib.parse import SplitResult, urlsplit

from device.errors import TerminalError
from sync.hub.errors import FieldRefused

LONGEST_URL = 1000
HTTPS, HTTP = "https", "http"
_PORTS = {HTTPS: 443, HTTP: 80}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_PRINTABLE = re.compile(r"[!-~]+")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")

Ip = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class AddressRefused(TerminalError, OSError):
    """Nothing is sent to this network address."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A checked address.

    target        path and query
    may_loopback  services of this very machine may be meant
    ca            certificates (PEM) of the authority that the receiver's certificate is of; empty for the system's
    """

    url: str
    scheme: str
    host: str
    port: int
    target: str
    may_loopback: bool = False
    ca: str = ""

    @property
    def authority(self) -> str:
        """Host and port, as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def addresses(self) -> list[str]:
        """The network addresses to try, in order. AddressRefused where one of them may not be connected to; OSError
        where the name leads nowhere."""
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        names = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        for name in names:
            if reason := refusal(name, self.may_loopback, is_plain=self.scheme == HTTP):
                raise AddressRefused(reason)
        return names


def destination(url: str, may_loopback: bool = False, ca: str = "") -> Destination:
    """FieldRefused where `url` is nothing that events are sent to."""
    if len(url) > LONGEST_URL or not _PRINTABLE.fullmatch(url):
        raise FieldRefused("url", f"at most {LONGEST_URL} printable ASCII characters; write others as %XX")
    parts, port = _split(url)
    host = parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
        raise FieldRefused("url", "give an address like https://example.org/doors")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise FieldRefused("url", "give it without an account, a password or a #")
    made = Destination(url, parts.scheme, host, port or _PORTS[parts.scheme], target, may_loopback, ca)
    if reason := _literal_refusal(made):
        raise FieldRefused("url", reason)
    return made


def refusal(address: str, may_loopback: bool, is_plain: bool = False) -> str:
    """Why nothing is sent to this network address; empty where it may be.

    is_plain  without TLS, which only this machine may be spoken to
    """
    ip = _embedded(ipaddress.ip_address(address))
    is_odd = ip.is_multicast or ip.is_unspecified or ip.is_link_local or ip.is_reserved or ip in _THIS_NETWORK
    if is_odd and not ip.is_loopback:
        return f"{address} is no address of one receiver (link-local, multicast or reserved)"
    is_here = ip.is_loopback or _is_own(ip)
    if is_here and not may_loopback:
        return (f"{address} is this machine itself, whose services are not to be reached this way; "
                "where that is meant: fleethub webhook add --loopback")
    if is_plain and not is_here:
        return "without TLS only this machine itself may be spoken to: give an https:// address"
    return ""


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        raise FieldRefused("url", "give an address like https://example.org/doors") from None


def _literal_refusal(made: Destination) -> str:
    """What can be said without asking for the name's addresses, which may be others tomorrow."""
    if made.host.lower() == "localhost":
        return refusal("127.0.0.1", made.may_loopback)
    try:
        ipaddress.ip_address(made.host)
    except ValueError:
        return "without TLS only this machine itself: give an https:// address" if made.scheme == HTTP else ""
    return refusal(made.host, made.may_loopback, is_plain=made.scheme == HTTP)


def _embedded(ip: Ip) -> Ip:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None) or ip


def _is_own(ip: Ip) -> bool:
    """Whether it is one of this machine's: only to those a socket can be bound."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError:
        return False
    return True

"""Keeps a broker's folder current: certificates, revocations, access list, and the hub's own certificate.

Called by `serve` for the broker that it looks after, and by `fleethub broker-config` for a site's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from device.clock import Clock
from device.errors import StoreError
from sync.hub.broker_config import Files, Served, emqx_acl, emqx_config, mosquitto_acl, mosquitto_config
from sync.hub.ca import SERVER_LIFE, Authority, Issued, is_renewal_due
from sync.hub.claims import Claims
from sync.hub.keys import Keys
from sync.hub.roster import Roster

AUTHORITY = "authority"


def authority_of(keys: Keys, clock: Clock) -> Authority:
    """The hub's certificate authority; made when first asked for, its key kept sealed."""
    known = _kept(keys, clock)
    if known is not None:
        return known
    made = Authority.new("fleethub", clock)
    issued = made.issued()
    try:
        keys.keep(AUTHORITY, "ca", issued.certificate, issued.key)
    except StoreError:
        # Another process was quicker.
        return _kept(keys, clock) or made
    return made


def _kept(keys: Keys, clock: Clock) -> Authority | None:
    key, certificate = keys.secret(AUTHORITY), keys.public(AUTHORITY)
    return None if key is None or certificate is None else Authority.load(Issued(certificate, key), clock)


class BrokerFiles:
    """One broker's folder. names: the host names and addresses under which terminals reach the broker."""

    def __init__(self, files: Files, names: Sequence[str], authority: Authority, claims: Claims, roster: Roster,
                 clock: Clock) -> None:
        self.files = files
        self._names, self._authority, self._claims = list(names), authority, claims
        self._roster, self._clock = roster, clock

    def write(self) -> bool:
        """Bring every file up to date; whether one changed, so that the broker must be told."""
        fleet = [Served(one.terminal_id, one.site, one.groups) for one in self._roster.all()]
        has_changed = write_if_new(self.files.ca, self._authority.certificate_pem())
        has_changed |= self._renew_server()
        has_changed |= write_if_new(self.files.acl, mosquitto_acl(self._roster.sites(), fleet).encode())
        return has_changed

    def write_revoked(self) -> None:
        """Write the list of revoked certificates; it bears a date, so it is always new."""
        replace(self.files.revoked, self._claims.revocations())

    def write_for_site(self, kind: str, port: int) -> list[Path]:
        """Everything that a site's own Mosquitto or EMQX needs; the paths written."""
        self.write()
        self.write_revoked()
        if kind == "emqx":
            fleet = [Served(one.terminal_id, one.site, one.groups) for one in self._roster.all()]
            config = self.files.folder / "emqx.conf"
            replace(config, emqx_config(self.files, port).encode())
            replace(self.files.acl, emqx_acl(self._roster.sites(), fleet).encode())
        else:
            config = self.files.config
            replace(config, mosquitto_config(self.files, port).encode())
        return [config, self.files.acl, self.files.ca, self.files.certificate, self.files.key, self.files.revoked]

    def _renew_server(self) -> bool:
        names = self.files.folder / "names"
        wanted = "\n".join(self._names)
        if self.files.key.exists() and names.exists() and names.read_text() == wanted and not is_renewal_due(
                self.files.certificate.read_bytes(), self._clock.now(), SERVER_LIFE):
            return False
        issued = self._authority.server(self._names)
        replace(self.files.key, issued.key)
        replace(self.files.certificate, issued.certificate)
        replace(names, wanted.encode())
        return True


def write_if_new(path: Path, data: bytes) -> bool:
    """Write a file unless it holds just that; whether it was written."""
    if path.exists() and path.read_bytes() == data:
        return False
    replace(path, data)
    return True


def replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, for its owner alone; StoreError where it cannot be."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check that its folder may be written") from None

"""Keeps a broker's folder current: certificates, revocations, access list, and the hub's own certificate.

Called by `serve` for the broker that it looks after, and by `fleethub broker-config` for a site's.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Sequence
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
        self._revoked: frozenset[int] | None = None

    def write(self) -> bool:
        """Bring every file up to date; whether one changed, so that the broker must be told."""
        fleet = [Served(one.terminal_id, one.site, one.shared) for one in self._roster.all()]
        has_changed = write_if_new(self.files.ca, self._authority.certificate_pem())
        has_changed |= self._renew_server()
        acl = mosquitto_acl(self._roster.sites(), fleet, self._claims.shut_out())
        has_changed |= write_if_new(self.files.acl, acl.encode())
        return self.write_revoked() or has_changed

    def write_revoked(self) -> bool:
        """Write the list of revoked certificates where it names others than before; whether it was written. Whoever
        revokes one, here or in another process, is so noticed."""
        revoked = self._claims.revoked()
        if revoked == self._revoked and self.files.revoked.exists():
            return False
        replace(self.files.revoked, self._claims.revocations())
        self._revoked = revoked
        return True

    def write_for_site(self, kind: str, port: int) -> list[Path]:
        """Everything that a site's own Mosquitto or EMQX needs; the paths written. Where root writes it, it becomes
        the broker's account's."""
        self.write()
        written = [self.files.acl, self.files.ca, self.files.certificate, self.files.key]
        if kind == "emqx":
            fleet = [Served(one.terminal_id, one.site, one.shared) for one in self._roster.all()]
            config = self.files.folder / "emqx.conf"
            replace(config, emqx_config(self.files, port).encode())
            replace(self.files.acl, emqx_acl(self._roster.sites(), fleet).encode())
            # It could not be used, and would only seem to be.
            self.files.revoked.unlink(missing_ok=True)
        else:
            config = self.files.config
            replace(config, mosquitto_config(self.files, port).encode())
            written += [self.files.revoked, made(self.files.state)]
        hand_over([self.files.folder, config, *written], kind)
        return [config, *written]

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


def hand_over(paths: Iterable[Path], account: str) -> None:
    """A broker that root starts reads its files as an account of its own: they become that account's. Nothing to do
    for who is not root, or where there is no such account."""
    if os.geteuid() != 0:
        return
    try:
        owner = pwd.getpwnam(account)
    except KeyError:
        return
    for path in paths:
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def made(folder: Path) -> Path:
    """The folder, made where it is missing; StoreError where it cannot be."""
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}; check that its folder may be written") from None
    return folder


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

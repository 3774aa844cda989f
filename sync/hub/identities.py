"""Terminals' identities: which certificates they were given, and what ends with one.

An identity ends when the terminal is revoked, removed or claimed anew. Its certificates are then on the broker's
list, and the keys of its groups' and areas' streams are retired, so that what is said from then on is sealed under
new ones. Used by `claims`, `fleet` and `broker_files`.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from device.clock import Clock
from sync.hub.areas import streams_of
from sync.hub.ca import end_of, serial_of
from sync.hub.schema import certificates, claims, stream_keys, terminal_groups, terminals
from sync.hub.storage import Storage, Tx
from sync.hub.times import milliseconds, moment
from sync.wire.streams import group_stream


class Identities:
    """Of one hub; any thread may use it."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def certified(self, tx: Tx, terminal_id: str, certificate: bytes) -> None:
        """Note a PEM certificate that is about to be handed out."""
        serial, until = f"{serial_of(certificate):x}", milliseconds(end_of(certificate))
        tx.run(sa.insert(certificates).values(serial=serial, terminal_id=terminal_id, until=until,
                                              issued=self._now()))
        tx.run(sa.update(terminals).where(terminals.c.terminal_id == terminal_id).values(
            certificate_serial=serial, certificate_until=until))

    def end(self, tx: Tx, terminal_id: str) -> None:
        """Revoke the certificates that a terminal was given, and retire the keys of its groups and areas: each gets a
        new one when it is next asked for."""
        now = self._now()
        tx.run(sa.update(certificates).where(certificates.c.terminal_id == terminal_id,
                                             certificates.c.revoked.is_(None)).values(revoked=now))
        followed = [group_stream(row.group_id) for row in tx.all(sa.select(terminal_groups.c.group_id).where(
            terminal_groups.c.terminal_id == terminal_id))] + streams_of(tx, terminal_id)
        tx.run(sa.update(stream_keys).where(stream_keys.c.stream.in_(followed), stream_keys.c.retired.is_(None))
               .values(retired=now))

    def revoke(self, tx: Tx, terminal_id: str) -> None:
        """Shut a terminal out: its identity ends, its unused codes are void, and it may not renew."""
        self.end(tx, terminal_id)
        tx.run(sa.delete(claims).where(claims.c.terminal_id == terminal_id, claims.c.used.is_(None)))
        tx.run(sa.update(terminals).where(terminals.c.terminal_id == terminal_id).values(revoked=self._now()))
        tx.ended("revoked", terminal_id)

    def set_back(self, tx: Tx) -> None:
        """The database is an old one: its unused codes may have been used since and are void, and its streams' keys
        may be known to terminals that have left since and are retired."""
        tx.run(sa.delete(claims).where(claims.c.used.is_(None)))
        tx.run(sa.update(stream_keys).where(stream_keys.c.retired.is_(None)).values(retired=self._now()))

    def revoked(self) -> list[tuple[int, datetime]]:
        """(serial, since when) of the certificates that are revoked and would hold otherwise."""
        with self._storage.read() as tx:
            rows = tx.all(sa.select(certificates).where(certificates.c.revoked.is_not(None),
                                                        certificates.c.until > self._now()))
        return [(int(row.serial, 16), moment(row.revoked)) for row in rows]

    def shut_out(self) -> list[str]:
        """Terminals that may hold a certificate and are ours no longer, or were claimed and are revoked."""
        with self._storage.read() as tx:
            held = {row.terminal_id for row in tx.all(sa.select(certificates.c.terminal_id).where(
                certificates.c.revoked.is_not(None), certificates.c.until > self._now()))}
            found = {row.terminal_id: row.revoked for row in tx.all(
                sa.select(terminals.c.terminal_id, terminals.c.revoked).where(terminals.c.claimed.is_not(None)))}
        is_ours = {terminal_id for terminal_id, revoked in found.items() if revoked is None}
        return sorted((held | set(found)) - is_ours)

    def _now(self) -> int:
        return milliseconds(self._clock.now())

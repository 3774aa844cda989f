"""How a terminal becomes ours: one-time codes, certificates against them, renewal, revocation.

A code is 100 random bits, shown once, kept as a hash, good once and for a limited time. Claiming a terminal again
(a new card, a new board, one that was stolen) ends its former identity: what it was given before is revoked, and its
groups get new keys. Called by the API, the CLI and `serve`.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from device.clock import Clock
from device.errors import TerminalError
from device.store.trust import Verifier, key_id_of, open_envelope
from sync.hub.ca import Authority
from sync.hub.errors import FieldRefused, InTheWay
from sync.hub.identities import Identities
from sync.hub.schema import claims, departures, terminals
from sync.hub.storage import Storage, Tx
from sync.hub.times import milliseconds
from sync.wire.claim import Claim, Claimed, Renewed, open_renewal, read

log = logging.getLogger(__name__)

LIFE = timedelta(hours=72)
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: nothing that is read as something else
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_LENGTH = 20


class ClaimRefused(TerminalError, ValueError):
    """The code or the request is not accepted; the message does not say which codes exist."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What a claimed terminal is told of the hub: where its broker is and whom to believe."""

    broker_host: str
    broker_port: int
    signing: tuple[bytes, ...]
    sealing: bytes


class Claims:
    """Codes and certificates of one hub; any thread may use it.

    on_change  called after a commit that revoked a certificate or brought a terminal in: the broker must be told
    """

    def __init__(self, storage: Storage, authority: Authority, contact: Callable[[], Contact], clock: Clock,
                 on_change: Callable[[], None] = lambda: None) -> None:
        self._storage, self._authority, self._contact = storage, authority, contact
        self._clock, self._on_change = clock, on_change
        self._identities = Identities(storage, clock)

    def issue(self, terminal_id: str, life: timedelta = LIFE) -> str:
        """A new code for a terminal that is in the fleet, e.g. `8K2M4-Q1TZ9-0RW3X-7HCVN`; older ones are void."""
        code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        self._keep(terminal_id, code, life)
        return "-".join(code[i:i + 5] for i in range(0, _LENGTH, 5))

    def expect(self, terminal_id: str, shown: str, life: timedelta = LIFE) -> None:
        """Let a terminal in by the code that it shows itself, as its installer's page has it: the QR code's text
        (`DOOR1:SERIAL:CODE`) or the code alone; older ones are void.

        FieldRefused where that is no code; InTheWay where it was told before.
        """
        with self._storage.write():
            self._keep(terminal_id, self.checked(shown), life)

    def checked(self, shown: str) -> str:
        """The code in what a terminal shows; refused as by `expect`."""
        code = shown.strip().upper().rpartition(":")[2].translate(_READ_AS)
        if len(code) != _LENGTH or not set(code) <= set(_LETTERS):
            raise FieldRefused("shown", "give what the terminal shows, e.g. DOOR1:4F2A:8K2M4-Q1TZ9-0RW3X-7HCVN")
        with self._storage.read() as tx:
            if tx.one(sa.select(claims.c.used).where(claims.c.code_hash == _hash(code))):
                raise InTheWay("this code was told before; a terminal that was claimed or reset shows a fresh one")
        return code

    def claim(self, data: bytes) -> Claimed:
        """What a terminal that posted `data` (a `Claim`) is given.

        ClaimRefused where the code is unknown, used or expired; RequestRefused and MessageRefused where the request
        is not in order: then the code stays good.
        """
        asked = read(data, Claim)
        now = self._clock.now()
        with self._storage.write() as tx:
            terminal_id = self._take(tx, asked.code, now)
            row = self._terminal(tx, terminal_id)
            if row.claimed is not None:
                self._end_former(tx, terminal_id)
            certificate = self._sign(tx, asked.csr.encode(), terminal_id)
            tx.run(sa.update(terminals).where(terminals.c.terminal_id == terminal_id).values(
                sign_public=bytes.fromhex(asked.signing_public), seal_public=bytes.fromhex(asked.sealing_public),
                claimed=milliseconds(now), revoked=None))
            tx.after_commit(self._on_change)
        log.info("terminal %s was claimed", terminal_id)
        contact = self._contact()
        return Claimed(terminal_id, row.site_id, certificate.decode(), self._authority.certificate_pem().decode(),
                       contact.broker_host, contact.broker_port, tuple(key.hex() for key in contact.signing),
                       contact.sealing.hex())

    def renew(self, data: bytes) -> Renewed:
        """A new certificate for a claimed terminal that signed its request, whatever became of the old one.

        ClaimRefused where the terminal is unknown or revoked; MessageRefused where the signature does not hold.
        """
        signer = open_envelope(data).signer
        with self._storage.write() as tx:
            row = self._signed_by(tx, signer)
            renewal = open_renewal(data, row.site_id, row.terminal_id, Verifier([row.sign_public]))
            certificate = self._sign(tx, renewal.csr.encode(), row.terminal_id)
        log.info("terminal %s renewed its certificate", row.terminal_id)
        return Renewed(certificate.decode(), self._authority.certificate_pem().decode())

    def revoke(self, terminal_id: str) -> None:
        """Shut a terminal out: its certificates, its codes, its right to renew and its groups' keys. ClaimRefused
        where unknown."""
        with self._storage.write() as tx:
            self._terminal(tx, terminal_id)
            self._identities.revoke(tx, terminal_id)
            tx.after_commit(self._on_change)
        log.info("terminal %s was revoked", terminal_id)

    def revocations(self) -> bytes:
        """PEM list of the certificates that are revoked and would hold otherwise."""
        return self._authority.revocations(self._identities.revoked())

    def revoked(self) -> frozenset[int]:
        """The serials on that list."""
        return frozenset(serial for serial, _ in self._identities.revoked())

    def shut_out(self) -> list[str]:
        """Terminals that may hold a certificate and are ours no longer."""
        return self._identities.shut_out()

    def _keep(self, terminal_id: str, code: str, life: timedelta) -> None:
        """From now on this code, and no older one, claims that terminal."""
        now = self._clock.now()
        with self._storage.write() as tx:
            self._terminal(tx, terminal_id)
            tx.run(sa.delete(claims).where(claims.c.terminal_id == terminal_id, claims.c.used.is_(None)))
            tx.run(sa.insert(claims).values(code_hash=_hash(code), terminal_id=terminal_id, created=milliseconds(now),
                                            expires=milliseconds(now + life)))

    def _take(self, tx: Tx, code: str, now: datetime) -> str:
        """The terminal that a code is for; the code is used up by it, once, whoever else tries meanwhile."""
        at = milliseconds(now)
        this = sa.and_(claims.c.code_hash == _hash(code), claims.c.used.is_(None), claims.c.expires > at)
        if tx.run(sa.update(claims).where(this).values(used=at)).rowcount != 1:
            log.warning("a claim with a code that is not good was refused")
            raise ClaimRefused("the code is unknown, used or expired; ask for a new one")
        return str(tx.value(sa.select(claims.c.terminal_id).where(claims.c.code_hash == _hash(code))))

    def _terminal(self, tx: Tx, terminal_id: str) -> sa.Row[tuple[object, ...]]:
        row = tx.one(sa.select(terminals).where(terminals.c.terminal_id == terminal_id))
        if row is None:
            raise ClaimRefused(f"there is no terminal {terminal_id[:60]!r}; add it first")
        return row

    def _signed_by(self, tx: Tx, key_id: str) -> sa.Row[tuple[object, ...]]:
        for row in tx.all(sa.select(terminals).where(terminals.c.sign_public.is_not(None),
                                                     terminals.c.revoked.is_(None))):
            if key_id_of(row.sign_public) == key_id:
                return row
        raise ClaimRefused("no terminal of ours signs with this key; claim it again with a new code")

    def _sign(self, tx: Tx, csr: bytes, terminal_id: str) -> bytes:
        certificate = self._authority.sign_terminal(csr, terminal_id)
        self._identities.certified(tx, terminal_id, certificate)
        return certificate

    def _end_former(self, tx: Tx, terminal_id: str) -> None:
        """What signed as this terminal until now does so no longer, nor will any backup believe it again; what it
        owes can never be confirmed."""
        self._identities.end(tx, terminal_id)
        tx.ended("revoked", terminal_id)
        tx.run(sa.delete(departures).where(departures.c.terminal_id == terminal_id))
        log.warning("terminal %s is claimed anew: its former board is shut out, and what that holds is out of reach",
                    terminal_id)


def _hash(code: str) -> bytes:
    # 100 random bits need no slow hash: there is nothing to guess.
    return hashlib.sha256(b"door claim " + code.upper().translate(_READ_AS).encode(errors="replace")).digest()


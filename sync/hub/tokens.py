"""Who may ask the API for what: tokens of 256 random bits, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from device.clock import Clock
from sync.hub.errors import FieldRefused, NotThere
from sync.hub.groups import check_title
from sync.hub.schema import tokens
from sync.hub.storage import Storage
from sync.hub.times import checked, milliseconds, moment

SCOPES = ("read", "write", "admin")
"""Each may do what those before it may: read asks, write enrols and removes persons and sends commands, admin
changes groups, terminals and tokens."""

PREFIX = "fh_"


@dataclass(frozen=True, slots=True)
class Token:
    token_id: str
    scope: str
    title: str
    created: datetime
    expires: datetime | None
    is_revoked: bool

    def may(self, scope: str) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


class Tokens:
    """The tokens of one hub."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def make(self, scope: str, title: str = "", expires: datetime | None = None) -> tuple[str, Token]:
        """(the token, to be shown this once; what is kept of it)."""
        if scope not in SCOPES:
            raise FieldRefused("scope", f"one of {', '.join(SCOPES)}")
        if expires is not None and checked("expires", expires) <= self._clock.now():
            raise FieldRefused("expires", "lies in the past")
        secret, token_id = PREFIX + secrets.token_urlsafe(32), secrets.token_hex(4)
        with self._storage.write() as tx:
            tx.run(sa.insert(tokens).values(
                token_id=token_id, hash=_hash(secret), scope=scope, title=check_title(title),
                created=milliseconds(self._clock.now()), expires=milliseconds(expires) if expires else None))
        return secret, self._get(token_id)

    def check(self, secret: str) -> Token | None:
        """The token that this is; None where it is none, or revoked, or over."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(tokens).where(tokens.c.hash == _hash(secret)))
        if row is None or row.revoked is not None:
            return None
        if row.expires is not None and row.expires <= milliseconds(self._clock.now()):
            return None
        return _token(row)

    def revoke(self, token_id: str) -> None:
        """NotThere where there is none."""
        with self._storage.write() as tx:
            if not tx.run(sa.update(tokens).where(tokens.c.token_id == token_id)
                          .values(revoked=milliseconds(self._clock.now()))).rowcount:
                raise NotThere(f"there is no token {token_id[:60]!r}")
            tx.ended("token", token_id)

    def all(self) -> list[Token]:
        with self._storage.read() as tx:
            return [_token(row) for row in tx.all(sa.select(tokens).order_by(tokens.c.created))]

    def _get(self, token_id: str) -> Token:
        with self._storage.read() as tx:
            return _token(tx.run(sa.select(tokens).where(tokens.c.token_id == token_id)).one())


def _hash(secret: str) -> bytes:
    # A plain hash is enough for 256 random bits: there is nothing to guess.
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _token(row: sa.Row[tuple[str, bytes, str, str, int, int, int]]) -> Token:
    return Token(row.token_id, row.scope, row.title, moment(row.created),
                 moment(row.expires) if row.expires else None, row.revoked is not None)

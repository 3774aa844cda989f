"""Whom events are sent to: addresses with a secret each, and how each stands.

The secret is made here, shown once and kept sealed, with the address, under the hub's key. A webhook that was removed
does not come back with a backup. Called by the API, the CLI and `messenger`.
"""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from sync.hub.destination import Destination, destination
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.outbox import Outbox, head
from sync.hub.schema import webhooks
from sync.hub.storage import Storage, Tx
from sync.hub.tidings import KINDS, new_secret
from sync.hub.times import milliseconds, moment
from sync.hub.vault import Vault

MOST = 16
LONGEST_CA = 100_000
LONGEST_PROBLEM = 300
LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """state: well, failing (tried again at `again`), or given up; problem: what it last met, in one line.

    kinds        of events; all where empty
    waiting      how many events it has yet to be told
    passed_over  those that it refused as such, and those that waited when it was given up
    """

    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    created: datetime
    state: str
    problem: str
    waiting: int
    delivered: int
    passed_over: int
    tries: int
    failing_since: datetime | None
    again: datetime | None
    cursor: int


@dataclass(frozen=True, slots=True)
class Keyed:
    """What it takes to send to a webhook."""

    to: Destination
    secret: str

    def __repr__(self) -> str:
        return f"Keyed({self.to.host}, secret)"


class Webhooks:
    """Those of one hub; any thread may use them."""

    def __init__(self, storage: Storage, vault: Vault, outbox: Outbox, clock: Clock) -> None:
        self._storage, self._vault, self._outbox, self._clock = storage, vault, outbox, clock

    def add(self, url: str, kinds: Sequence[str] = (), ca: str = "",
            may_loopback: bool = False) -> tuple[str, Webhook]:
        """(the secret, to be shown this once; the webhook). It is told of what is stored from now on.

        ca            certificates (PEM) of the authority of the receiver's certificate; empty for the system's
        may_loopback  it may be a service of this very machine, also without TLS
        """
        to = destination(url, may_loopback, _checked_ca(ca))
        if unknown := sorted(set(kinds) - set(KINDS)):
            raise FieldRefused("events", f"there is no kind {unknown[0][:40]!r}; the kinds are {', '.join(KINDS)}")
        secret, webhook_id = new_secret(), secrets.token_hex(4)
        kept = json.dumps({"url": to.url, "secret": secret, "ca": ca, "may_loopback": may_loopback}).encode()
        with self._storage.write() as tx:
            if (tx.value(sa.select(sa.func.count()).select_from(webhooks)) or 0) >= MOST:
                raise InTheWay(f"there are {MOST} webhooks already; remove one")
            tx.run(sa.insert(webhooks).values(
                webhook_id=webhook_id, kinds=" ".join(sorted(set(kinds))), created=milliseconds(self._clock.now()),
                sealed=self._vault.seal("", kept, "webhook", webhook_id), cursor=head(tx)))
            return secret, self._webhook(tx, self._row(tx, webhook_id))

    def all(self) -> list[Webhook]:
        with self._storage.read() as tx:
            return [self._webhook(tx, row) for row in tx.all(sa.select(webhooks).order_by(webhooks.c.created))]

    def get(self, webhook_id: str) -> Webhook:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            return self._webhook(tx, self._row(tx, webhook_id))

    def keyed(self, webhook_id: str) -> Keyed:
        """Its address and secret; NotThere where there is none."""
        with self._storage.read() as tx:
            return self._keyed(self._row(tx, webhook_id))

    def remove(self, webhook_id: str) -> None:
        """What it was not told yet it will not be."""
        with self._storage.write() as tx:
            self._row(tx, webhook_id)
            tx.run(sa.delete(webhooks).where(webhooks.c.webhook_id == webhook_id))
            self._outbox.forget(tx)
            tx.ended("webhook", webhook_id)

    def resume(self, webhook_id: str) -> Webhook:
        """Try one that was given up, or waits for its next try, again now; what it missed since it was given up it is
        not told."""
        with self._storage.write() as tx:
            row = self._row(tx, webhook_id)
            cursor = row.cursor if row.ended is None else head(tx)
            tx.run(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(
                cursor=cursor, tries=0, failing_since=None, again_at=None, problem="", ended=None))
            return self._webhook(tx, self._row(tx, webhook_id))

    # --- what `messenger` notes -----------------------------------------------------------------------------

    def due(self) -> list[str]:
        """Those that have something to be told, and are to be tried now."""
        now = milliseconds(self._clock.now())
        with self._storage.read() as tx:
            newest = head(tx)
            rows = tx.all(sa.select(webhooks.c.webhook_id, webhooks.c.again_at).where(
                webhooks.c.ended.is_(None), webhooks.c.cursor < newest))
        # One that would wait for longer than it ever has to was noted by a clock that has been put right since.
        return [row.webhook_id for row in rows
                if row.again_at is None or not now < row.again_at <= now + LONGEST_WAIT_S * 1000]

    def told(self, webhook_id: str, cursor: int, delivered: int, passed_over: int = 0) -> None:
        """It was told of everything up to a number; `passed_over` of that it refused."""
        with self._storage.write() as tx:
            tx.run(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(
                cursor=cursor, delivered=webhooks.c.delivered + delivered,
                passed_over=webhooks.c.passed_over + passed_over, tries=0, failing_since=None, again_at=None,
                problem=""))
            self._outbox.forget(tx)

    def failed(self, webhook_id: str, problem: str, again: datetime) -> None:
        """What follows its cursor could not be told."""
        with self._storage.write() as tx:
            now = milliseconds(self._clock.now())
            tx.run(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(
                tries=webhooks.c.tries + 1, again_at=milliseconds(again), problem=problem[:LONGEST_PROBLEM],
                failing_since=sa.func.coalesce(webhooks.c.failing_since, now)))

    def give_up(self, webhook_id: str, problem: str) -> None:
        """It is told nothing more until somebody resumes it."""
        with self._storage.write() as tx:
            one = self.get(webhook_id)
            tx.run(sa.update(webhooks).where(webhooks.c.webhook_id == webhook_id).values(
                ended=milliseconds(self._clock.now()), problem=problem[:LONGEST_PROBLEM], cursor=head(tx),
                passed_over=webhooks.c.passed_over + one.waiting, again_at=None))
            self._outbox.forget(tx)

    # --- inside ----------------------------------------------------------------------------------------------

    def _row(self, tx: Tx, webhook_id: str) -> sa.Row[Any]:
        row = tx.one(sa.select(webhooks).where(webhooks.c.webhook_id == webhook_id))
        if row is None:
            raise NotThere(f"there is no webhook {webhook_id[:60]!r}")
        return row

    def _keyed(self, row: sa.Row[Any]) -> Keyed:
        kept = json.loads(self._vault.open_one("", row.sealed, "webhook", row.webhook_id))
        return Keyed(destination(kept["url"], kept["may_loopback"], kept["ca"]), kept["secret"])

    def _webhook(self, tx: Tx, row: sa.Row[Any]) -> Webhook:
        kinds = tuple(row.kinds.split())
        state = "given up" if row.ended is not None else "failing" if row.tries else "well"
        return Webhook(
            row.webhook_id, self._keyed(row).to.url, kinds, moment(row.created), state, row.problem,
            0 if row.ended is not None else self._outbox.count(tx, row.cursor, kinds), row.delivered, row.passed_over,
            row.tries, _at(row.failing_since), _at(row.again_at), row.cursor)


def _checked_ca(ca: str) -> str:
    if not ca:
        return ca
    try:
        if len(ca) > LONGEST_CA:
            raise ValueError
        ssl.create_default_context(cadata=ca)
    except (ValueError, ssl.SSLError):
        raise FieldRefused("ca", "no certificates in PEM") from None
    return ca


def _at(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)

"""What the wire side must know of a terminal before it believes or serves it: site, groups, keys.

Read from the database each time, because the API, the CLI and other workers change it at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sync.hub.ledger import group_stream, terminal_stream
from sync.hub.schema import groups, sites, terminal_groups, terminals
from sync.hub.storage import Storage, Tx


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that was claimed and is not revoked.

    sign_public, seal_public  what it signs with, and what is sealed to it
    """

    terminal_id: str
    site: str
    sign_public: bytes
    seal_public: bytes
    groups: tuple[str, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that it is to hold; its own first, because rules say what persons may do."""
        return (terminal_stream(self.terminal_id), *(group_stream(group) for group in self.groups))


class Roster:
    """The claimed terminals of one hub; any thread may use it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, terminal_id: str) -> Terminal | None:
        """None where there is no such terminal, or it was not claimed, or was revoked."""
        with self._storage.read() as tx:
            row = tx.one(_claimed().where(terminals.c.terminal_id == terminal_id))
            return _terminal(row, _groups_of(tx, terminal_id)) if row else None

    def all(self) -> list[Terminal]:
        with self._storage.read() as tx:
            served: dict[str, list[str]] = {}
            for row in tx.all(sa.select(terminal_groups)):
                served.setdefault(row.terminal_id, []).append(row.group_id)
            return [_terminal(row, tuple(sorted(served.get(row.terminal_id, ())))) for row in tx.all(_claimed())]

    def sites(self) -> list[str]:
        with self._storage.read() as tx:
            return [row.site_id for row in tx.all(sa.select(sites.c.site_id).order_by(sites.c.site_id))]

    def groups(self) -> dict[str, str]:
        """Every group with its site."""
        with self._storage.read() as tx:
            return {row.group_id: row.site_id for row in tx.all(sa.select(groups.c.group_id, groups.c.site_id))}

    def site_of(self, group: str) -> str | None:
        with self._storage.read() as tx:
            found = tx.value(sa.select(groups.c.site_id).where(groups.c.group_id == group))
        return str(found) if found is not None else None


def _claimed() -> sa.Select[Any]:
    return sa.select(terminals.c.terminal_id, terminals.c.site_id, terminals.c.sign_public,
                     terminals.c.seal_public).where(
        terminals.c.sign_public.is_not(None), terminals.c.seal_public.is_not(None), terminals.c.revoked.is_(None))


def _groups_of(tx: Tx, terminal_id: str) -> tuple[str, ...]:
    rows = tx.all(sa.select(terminal_groups.c.group_id).where(terminal_groups.c.terminal_id == terminal_id)
                  .order_by(terminal_groups.c.group_id))
    return tuple(row.group_id for row in rows)


def _terminal(row: sa.Row[Any], served: tuple[str, ...]) -> Terminal:
    return Terminal(row.terminal_id, row.site_id, bytes(row.sign_public), bytes(row.seal_public), served)

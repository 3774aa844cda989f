"""What the wire side must know of a terminal before it believes or serves it: site, groups, areas, keys.

Read from the database each time, because the API, the CLI and other workers change it at will.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sync.hub.schema import groups, sites, terminal_areas, terminal_groups, terminals
from sync.hub.storage import Storage, Tx
from sync.wire.streams import GROUP, group_stream, owner_of, scope_of, terminal_stream


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that was claimed and is not revoked.

    sign_public, seal_public  what it signs with, and what is sealed to it
    shared                    streams that it follows with others: its groups' and its areas'
    """

    terminal_id: str
    site: str
    sign_public: bytes
    seal_public: bytes
    shared: tuple[str, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that it is to hold; its own first, because rules say what persons may do."""
        return (terminal_stream(self.terminal_id), *self.shared)


class Roster:
    """The claimed terminals of one hub; any thread may use it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, terminal_id: str) -> Terminal | None:
        """None where there is no such terminal, or it was not claimed, or was revoked."""
        with self._storage.read() as tx:
            row = tx.one(_claimed().where(terminals.c.terminal_id == terminal_id))
            return _terminal(row, _followed(tx, terminal_id).get(terminal_id, ())) if row else None

    def all(self) -> list[Terminal]:
        with self._storage.read() as tx:
            followed = _followed(tx)
            return [_terminal(row, followed.get(row.terminal_id, ())) for row in tx.all(_claimed())]

    def sites(self) -> list[str]:
        with self._storage.read() as tx:
            return [row.site_id for row in tx.all(sa.select(sites.c.site_id).order_by(sites.c.site_id))]

    def shared(self) -> dict[str, str]:
        """The stream of every group, and of every area that is followed, with its site."""
        with self._storage.read() as tx:
            found = {group_stream(row.group_id): row.site_id
                     for row in tx.all(sa.select(groups.c.group_id, groups.c.site_id))}
            return found | {row.stream: row.site_id for row in tx.all(
                sa.select(terminal_areas.c.stream, terminal_areas.c.site_id).distinct())}

    def site_of(self, stream: str) -> str | None:
        """Of a shared stream; None where there is none such."""
        with self._storage.read() as tx:
            found = tx.value(sa.select(groups.c.site_id).where(groups.c.group_id == owner_of(stream)) if (
                scope_of(stream) == GROUP) else
                sa.select(terminal_areas.c.site_id).where(terminal_areas.c.stream == stream).limit(1))
        return str(found) if found is not None else None


def _claimed() -> sa.Select[Any]:
    return sa.select(terminals.c.terminal_id, terminals.c.site_id, terminals.c.sign_public,
                     terminals.c.seal_public).where(
        terminals.c.sign_public.is_not(None), terminals.c.seal_public.is_not(None), terminals.c.revoked.is_(None))


def _followed(tx: Tx, terminal_id: str | None = None) -> dict[str, tuple[str, ...]]:
    """Shared streams by terminal, of one or of all: groups' first."""
    found: dict[str, list[str]] = {}
    of_groups: sa.Select[Any] = sa.select(terminal_groups.c.terminal_id, terminal_groups.c.group_id)
    of_areas: sa.Select[Any] = sa.select(terminal_areas.c.terminal_id, terminal_areas.c.stream)
    if terminal_id is not None:
        of_groups = of_groups.where(terminal_groups.c.terminal_id == terminal_id)
        of_areas = of_areas.where(terminal_areas.c.terminal_id == terminal_id)
    for row in tx.all(of_groups.order_by(terminal_groups.c.group_id)):
        found.setdefault(row.terminal_id, []).append(group_stream(row.group_id))
    for row in tx.all(of_areas.order_by(terminal_areas.c.stream)):
        found.setdefault(row.terminal_id, []).append(row.stream)
    return {one: tuple(streams) for one, streams in found.items()}


def _terminal(row: sa.Row[Any], shared: tuple[str, ...]) -> Terminal:
    return Terminal(row.terminal_id, row.site_id, bytes(row.sign_public), bytes(row.seal_public), shared)

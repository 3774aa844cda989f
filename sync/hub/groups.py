"""Sites and groups. A group is a face library: its persons are known at every terminal that serves it."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.schema import groups, memberships, sites, stream_keys, terminal_groups, terminals
from sync.hub.storage import Storage, Tx
from sync.wire.streams import group_stream
from sync.wire.topics import checked

LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True)
class Group:
    """persons and terminals are counts."""

    group_id: str
    site_id: str
    title: str
    persons: int
    terminals: int


class Groups:
    """The groups of every site."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def add_site(self, site_id: str, title: str = "", time_zone: str = "UTC") -> None:
        """InTheWay where it exists. time_zone: in which its events are exported, e.g. Asia/Shanghai"""
        _check_id("site", site_id)
        zone_named(time_zone)
        with self._storage.write() as tx:
            if tx.one(sa.select(sites).where(sites.c.site_id == site_id)):
                raise InTheWay(f"site {site_id} exists already")
            tx.run(sa.insert(sites).values(site_id=site_id, title=check_title(title), time_zone=time_zone))

    def set_time_zone(self, site_id: str, time_zone: str) -> None:
        """NotThere where there is no such site."""
        zone_named(time_zone)
        with self._storage.write() as tx:
            change = sa.update(sites).where(sites.c.site_id == site_id).values(time_zone=time_zone)
            if not tx.run(change).rowcount:
                raise NotThere(f"there is no site {site_id[:60]!r}")

    def time_zones(self) -> dict[str, str]:
        """Site -> the name of its time zone."""
        with self._storage.read() as tx:
            return {row.site_id: row.time_zone for row in tx.all(sa.select(sites))}

    def zones_of_terminals(self) -> dict[str, ZoneInfo]:
        """Terminal -> the time zone of its site."""
        wanted = sa.select(terminals.c.terminal_id, sites.c.time_zone).join(sites)
        with self._storage.read() as tx:
            return {row.terminal_id: ZoneInfo(row.time_zone) for row in tx.all(wanted)}

    def sites(self) -> list[tuple[str, str]]:
        """(id, title) of every site."""
        with self._storage.read() as tx:
            return [(row.site_id, row.title) for row in tx.all(sa.select(sites).order_by(sites.c.site_id))]

    def add(self, group_id: str, site_id: str, title: str = "") -> None:
        """InTheWay where it exists, NotThere for an unknown site."""
        _check_id("group", group_id)
        with self._storage.write() as tx:
            if tx.one(sa.select(groups).where(groups.c.group_id == group_id)):
                raise InTheWay(f"group {group_id} exists already")
            if not tx.one(sa.select(sites).where(sites.c.site_id == site_id)):
                raise NotThere(f"there is no site {site_id[:60]!r}")
            tx.run(sa.insert(groups).values(group_id=group_id, site_id=site_id, title=check_title(title)))

    def remove(self, group_id: str) -> None:
        """InTheWay while persons belong to it or terminals serve it."""
        with self._storage.write() as tx:
            group = self._one(tx, group_id)
            if group.persons or group.terminals:
                raise InTheWay(f"group {group_id} has {group.persons} persons and {group.terminals} terminals; take "
                               "them out first")
            # The ledger's stream stays: should the group be made again, its numbers go on.
            tx.run(sa.delete(stream_keys).where(stream_keys.c.stream == group_stream(group_id)))
            tx.run(sa.delete(groups).where(groups.c.group_id == group_id))

    def all(self) -> list[Group]:
        with self._storage.read() as tx:
            return [_group(row) for row in tx.all(_counted().order_by(groups.c.group_id))]

    def get(self, group_id: str) -> Group:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            return self._one(tx, group_id)

    def check(self, group_ids: tuple[str, ...], tx: Tx, site_id: str | None = None) -> tuple[str, ...]:
        """The ids, sorted and each once; NotThere names the first that is no group (of that site)."""
        wanted = sorted(set(group_ids))
        found = {row.group_id: row for row in tx.all(sa.select(groups).where(groups.c.group_id.in_(wanted)))}
        for group_id in wanted:
            if group_id not in found:
                raise NotThere(f"there is no group {group_id[:60]!r}; make it with `fleethub group add`")
            if site_id is not None and found[group_id].site_id != site_id:
                raise InTheWay(f"group {group_id} belongs to site {found[group_id].site_id}, not to {site_id}")
        return tuple(wanted)

    def _one(self, tx: Tx, group_id: str) -> Group:
        row = tx.one(_counted().where(groups.c.group_id == group_id))
        if row is None:
            raise NotThere(f"there is no group {group_id[:60]!r}")
        return _group(row)


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name; FieldRefused where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise FieldRefused("time_zone", "no time zone like Asia/Shanghai or UTC") from None


def check_title(title: str) -> str:
    """A title as it is kept; FieldRefused where it cannot be one."""
    shown = " ".join(title.split())
    if len(shown) > LONGEST_TITLE or (shown and not shown.isprintable()):
        raise FieldRefused("title", f"at most {LONGEST_TITLE} printable characters")
    return shown


def _check_id(what: str, name: str) -> None:
    try:
        checked(name)
    except ValueError as error:
        raise FieldRefused(f"{what}_id", str(error)) from None


def _counted() -> sa.Select[tuple[str, str, str, int, int]]:
    persons = sa.select(sa.func.count()).where(memberships.c.group_id == groups.c.group_id).scalar_subquery()
    serving = (sa.select(sa.func.count()).select_from(terminal_groups.join(terminals))
               .where(terminal_groups.c.group_id == groups.c.group_id).scalar_subquery())
    return sa.select(groups.c.group_id, groups.c.site_id, groups.c.title, persons.label("persons"),
                     serving.label("terminals"))


def _group(row: sa.Row[tuple[str, str, str, int, int]]) -> Group:
    return Group(row.group_id, row.site_id, row.title, row.persons, row.terminals)

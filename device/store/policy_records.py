"""What of gallery.db the policy is made of: kinds of records, each with its type, and a name for the whole of them.

Read by the roster; written by `doorctl policy` on a stand-alone terminal and by door-syncd on one with a hub.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

from device.store import body
from device.store.records import AccessRule, Area, DoorSides, Holiday, ModePlan, RevokedPass, Schedule

T = TypeVar("T")

# kind -> (type, its key's field)
KINDS: dict[str, tuple[type[Any], str]] = {
    "rule": (AccessRule, "rule_id"), "schedule": (Schedule, "schedule_id"), "holiday": (Holiday, "holiday_id"),
    "mode": (ModePlan, "plan_id"), "area": (Area, "area_id"), "door": (DoorSides, "door_id"),
}


class RecordsReader(Protocol):
    def records(self, kind: str, shape: type[T]) -> tuple[T, ...]: ...


class RecordsWriter(RecordsReader, Protocol):
    def put_record(self, kind: str, key: str, record: Any) -> None: ...

    def drop_record(self, kind: str, key: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class PolicyRecords:
    """Everything that the site's administrator set for this terminal's door."""

    rules: tuple[AccessRule, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    holidays: tuple[Holiday, ...] = ()
    plans: tuple[ModePlan, ...] = ()
    areas: tuple[Area, ...] = ()
    doors: tuple[DoorSides, ...] = ()

    @property
    def version(self) -> str:
        """A short name of this very policy: the beginning of SHA-256 over its records."""
        digest = hashlib.sha256()
        for kind, key, record in self.keyed():
            digest.update(b"%b %b " % (kind.encode(), key.encode()) + body.encode(record) + b"\n")
        return digest.hexdigest()[:12]

    def keyed(self) -> list[tuple[str, str, Any]]:
        """(kind, key, record) of every record."""
        return [(kind, str(getattr(record, KINDS[kind][1])), record)
                for kind, entry in zip(KINDS, fields(self), strict=True) for record in getattr(self, entry.name)]


def joined_areas(doors: Iterable[DoorSides]) -> set[str]:
    """The areas that doors join; the world outside is none."""
    return {area for door in doors for area in (door.outside, door.inside)} - {""}


def read_policy(reader: RecordsReader) -> PolicyRecords:
    """SealBroken where a record does not open: a policy is whole or not used."""
    return PolicyRecords(*(reader.records(kind, shape) for kind, (shape, _) in KINDS.items()))


def put_policy(writer: RecordsWriter, records: PolicyRecords) -> None:
    """Replace the whole policy of a gallery; call it inside one transaction."""
    wanted = {(kind, key): record for kind, key, record in records.keyed()}
    for kind, key, _ in read_policy(writer).keyed():
        if (kind, key) not in wanted:
            writer.drop_record(kind, key)
    for (kind, key), record in wanted.items():
        writer.put_record(kind, key, record)


def revoked_passes(reader: RecordsReader) -> frozenset[str]:
    return frozenset(one.pass_id for one in reader.records("pass", RevokedPass))

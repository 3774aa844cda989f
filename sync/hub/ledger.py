"""The ledger: one numbered list of changes for each stream, from which every terminal is kept equal.

Of each record only its last change is kept: a put with its body, or a drop without one. So a later put replaces the
body of an earlier one, and a drop erases it; nothing is left that would have to be hunted down. What follows a
cursor are the records whose last change is later than it, and applying them gives the living set, wherever between
the cursor and now a record came and went. A stream's numbers are never given twice.

The epoch names this ledger's history. It is made anew when the hub was set back to an earlier state (`restore`, an
old database beside a newer mark, a terminal that has seen more than the ledger has), and forces snapshots.

Called by people, fleet and enrolment, which change, and by the carrier, which reads and is told (`listen`, `poll`).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from device.store.trust import place
from sync.hub.history import EPOCH, History, epoch_of
from sync.hub.schema import changes, meta, streams
from sync.hub.storage import AT_ONCE, Storage, Tx, in_parts, insert_or_update
from sync.hub.times import milliseconds, moment
from sync.hub.trees import Head, Trees
from sync.hub.vault import SEAL_BYTES, Keyring, Vault, placed
from sync.wire.digest import DigestTree, Leaf, body_hash
from sync.wire.messages import Change

log = logging.getLogger(__name__)

BESIDE = 48  # bytes that a change takes besides its body: key, kind, numbers
Listener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Put:
    """A record is to live. owner: the key that the body lies under here (`vault`); empty for the hub's."""

    kind: str
    key: str
    body: bytes
    owner: str = ""

    def __repr__(self) -> str:
        return f"Put({self.kind} {self.key})"


@dataclass(frozen=True, slots=True)
class Drop:
    """A record is to go for good."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What leads from from_seq to the head, in order of seq."""

    head: Head
    from_seq: int
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return f"Delta({self.head.stream} {self.from_seq}..{self.head.seq}, {len(self.changes)} changes)"


@dataclass(frozen=True, slots=True)
class Living:
    """The living records of a stream, or of some of its buckets, in order of seq."""

    head: Head
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return f"Living({self.head.stream} at {self.head.seq}, {len(self.changes)} records)"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many living records of a kind there are, and how many bytes their bodies and their keys take."""

    kind: str
    count: int
    body_bytes: int
    key_bytes: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """The living records of a stream, to be read piece by piece while it is open: persons, then what is neither
    person nor template, then templates, each in order of seq."""

    head: Head
    tallies: tuple[Tally, ...]
    changes: Iterator[Change]

    def __repr__(self) -> str:
        return f"Inventory({self.head.stream} at {self.head.seq})"


@dataclass(frozen=True, slots=True)
class _Told:
    """What is done after the commit of a change to a stream."""

    ledger: Ledger
    stream: str

    def __call__(self) -> None:
        self.ledger.tell(self.stream)


class Ledger:
    """Every stream of one hub; any thread may use it."""

    def __init__(self, storage: Storage, vault: Vault, clock: Clock, mark: Path | None = None) -> None:
        """mark  the file outside the database that says how far the ledger had come; a database that stands behind
        it is an old one, and gets a new epoch"""
        self._storage, self._vault, self._clock = storage, vault, clock
        self._history, self._trees = History(storage, mark), Trees(vault)
        self._listeners: list[Listener] = []
        self._announced: dict[str, tuple[str, int]] = {}
        with storage.write() as tx:
            self.was_set_back = self._history.is_old(tx)
            if self.was_set_back:
                log.warning("the database is older than the mark beside the keys, or has none: a new epoch begins, "
                            "and every terminal will be given a snapshot")
            if self.was_set_back or not epoch_of(tx):
                self.new_epoch(tx)

    # --- changing --------------------------------------------------------------------------------------------

    def append(self, stream: str, steps: Sequence[Put | Drop], tx: Tx | None = None) -> int:
        """The stream's seq after these steps, all in one transaction (the caller's, where one is given).

        Drops are numbered before puts. A drop of what does not live here is left out.
        """
        if tx is None:
            with self._storage.write() as own:
                return self.append(stream, steps, own)
        row = self._stream(tx, stream) or self._new_stream(tx, stream)
        seq = self._drop(tx, row.stream_id, row.seq, [step for step in steps if isinstance(step, Drop)])
        seq = self._put(tx, row.stream_id, stream, seq, [step for step in steps if isinstance(step, Put)])
        if seq != row.seq:
            tx.run(sa.update(streams).where(streams.c.stream_id == row.stream_id).values(seq=seq))
            self._history.move_on(tx)
            tx.after_commit(_Told(self, stream))
        return seq

    def new_epoch(self, tx: Tx | None = None) -> str:
        """Begin a new history: every terminal will ask for a snapshot. The new epoch's name."""
        if tx is None:
            with self._storage.write() as own:
                return self.new_epoch(own)
        epoch = secrets.token_hex(8)
        insert_or_update(tx, meta, [{"name": EPOCH, "value": epoch}])
        tx.run(sa.update(streams).values(floor=streams.c.seq))
        self._history.move_on(tx)
        for row in tx.all(sa.select(streams.c.stream)):
            tx.after_commit(_Told(self, row.stream))
        return epoch

    def forget_drops(self, stream: str, before: datetime, up_to: int | None = None) -> int:
        """No longer list drops older than that, and none after the seq `up_to`; who stands below them gets a
        snapshot. How many went."""
        with self._storage.write() as tx:
            row = self._stream(tx, stream)
            if row is None:
                return 0
            old = sa.and_(changes.c.stream_id == row.stream_id, changes.c.leaf.is_(None),
                          changes.c.at < milliseconds(before))
            if up_to is not None:
                old = sa.and_(old, changes.c.seq <= up_to)
            last = tx.value(sa.select(sa.func.max(changes.c.seq)).where(old))
            if last is None:
                return 0
            gone = tx.run(sa.delete(changes).where(old)).rowcount
            tx.run(sa.update(streams).where(streams.c.stream_id == row.stream_id).values(floor=max(row.floor, last)))
            return int(gone)

    # --- reading ---------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        with self._storage.read() as tx:
            return epoch_of(tx)

    def streams(self) -> dict[str, int]:
        """Every stream with its seq."""
        with self._storage.read() as tx:
            return {row.stream: row.seq for row in tx.all(sa.select(streams))}

    def head(self, stream: str) -> Head:
        """Where the stream stands; seq 0 and the digest of nothing where it has no change yet."""
        with self._storage.read() as tx:
            return self._trees.at(tx, stream)[0]

    def digest(self, stream: str) -> tuple[Head, DigestTree]:
        """The head and the tree behind it: no later change alters it, and the caller must not."""
        with self._storage.read() as tx:
            return self._trees.at(tx, stream)

    def since(self, stream: str, seq: int, max_bytes: int, epoch: str | None = None) -> Delta | None:
        """What follows `seq`, up to the head; None where a snapshot is due: another epoch, drops since then that are
        no longer listed, a `seq` ahead of the ledger, or bodies of more than `max_bytes`."""
        with self._storage.read() as tx:
            head = self._trees.at(tx, stream)[0]
            row = self._stream(tx, stream)
            if epoch not in (None, head.epoch) or seq > head.seq or (row is not None and seq < row.floor):
                return None
            if row is None:
                return Delta(head, seq, ())
            later = sa.and_(changes.c.stream_id == row.stream_id, changes.c.seq > seq)
            bodies = sa.func.coalesce(sa.func.sum(sa.func.length(changes.c.sealed)), 0)
            if tx.value(sa.select(bodies + BESIDE * sa.func.count()).where(later)) > max_bytes:
                return None
            return Delta(head, seq, tuple(self._opened(tx, stream, later)))

    def living(self, stream: str, buckets: Iterable[int] | None = None) -> Living:
        """All living records, or those of some of the 4 096 buckets."""
        with self._storage.read() as tx:
            head = self._trees.at(tx, stream)[0]
            row = self._stream(tx, stream)
            if row is None:
                return Living(head, ())
            alive = sa.and_(changes.c.stream_id == row.stream_id, changes.c.leaf.is_not(None))
            if buckets is None:
                return Living(head, tuple(self._opened(tx, stream, alive)))
            found = [change for part in in_parts(sorted(set(buckets)))
                     for change in self._opened(tx, stream, sa.and_(alive, changes.c.bucket.in_(part)))]
            return Living(head, tuple(sorted(found, key=lambda change: change.seq)))

    @contextlib.contextmanager
    def inventory(self, stream: str) -> Iterator[Inventory]:
        """All living records in one consistent view, however large, with the keys that there were when it began; hold
        it no longer than reading takes, since the database's log grows meanwhile."""
        with self._storage.read() as tx, self._vault.view() as keys_of:
            head = self._trees.at(tx, stream)[0]
            row = self._stream(tx, stream)
            if row is None:
                yield Inventory(head, (), iter(()))
                return
            alive = sa.and_(changes.c.stream_id == row.stream_id, changes.c.leaf.is_not(None))
            kind, length = changes.c.kind, sa.func.length
            sizes: Any = tx.all(sa.select(kind, sa.func.count(), sa.func.sum(length(changes.c.sealed)),
                                          sa.func.sum(length(changes.c.key))).where(alive).group_by(kind))
            tallies = tuple(Tally(name, count, size - count * SEAL_BYTES, keys) for name, count, size, keys in sizes)
            in_order = (kind == "person", kind.not_in(("person", "template")), kind == "template")
            yield Inventory(head, tallies, itertools.chain.from_iterable(
                self._opened(tx, stream, sa.and_(alive, of_kind), keys_of) for of_kind in in_order))

    def drops_after(self, stream: str, seq: int) -> list[tuple[str, str, int, datetime]]:
        """(kind, key, seq, when) of the drops that follow `seq` and are still listed."""
        with self._storage.read() as tx:
            row = self._stream(tx, stream)
            if row is None:
                return []
            found = tx.all(sa.select(changes.c.kind, changes.c.key, changes.c.seq, changes.c.at).where(
                changes.c.stream_id == row.stream_id, changes.c.leaf.is_(None), changes.c.seq > seq)
                .order_by(changes.c.seq))
            return [(one.kind, one.key, one.seq, moment(one.at)) for one in found]

    # --- being told ------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with a stream's name after each commit of this process that changed it, on the
        thread that committed: it should only put the name on a queue."""
        self._listeners.append(listener)

    def poll(self) -> list[str]:
        """Streams that moved since the last `poll`, whichever process moved them; the first call names them all."""
        with self._storage.read() as tx:
            epoch = epoch_of(tx)
            now = {row.stream: (epoch, row.seq) for row in tx.all(sa.select(streams))}
        moved = [stream for stream, state in now.items() if self._announced.get(stream) != state]
        self._announced = now
        return moved

    def tell(self, stream: str) -> None:
        """Call the listeners."""
        for listener in self._listeners:
            listener(stream)

    # --- inside ----------------------------------------------------------------------------------------------

    def _stream(self, tx: Tx, stream: str) -> sa.Row[Any] | None:
        return tx.one(sa.select(streams).where(streams.c.stream == stream))

    def _new_stream(self, tx: Tx, stream: str) -> sa.Row[Any]:
        tx.run(sa.insert(streams).values(stream=stream, seq=0, floor=0))
        return tx.run(sa.select(streams).where(streams.c.stream == stream)).one()

    def _drop(self, tx: Tx, stream_id: int, seq: int, steps: Sequence[Drop]) -> int:
        now = milliseconds(self._clock.now())
        rows = []
        for kind in sorted({step.kind for step in steps}):
            for part in in_parts(sorted({step.key for step in steps if step.kind == kind})):
                alive = sa.select(changes.c.key, changes.c.sealed).where(
                    changes.c.stream_id == stream_id, changes.c.kind == kind, changes.c.key.in_(part),
                    changes.c.leaf.is_not(None)).order_by(changes.c.key)
                for row in tx.all(alive):
                    seq += 1
                    rows.append({"of_kind": kind, "of_key": row.key, "seq": seq, "at": now, "owner": "", "leaf": None,
                                 "sealed": None, "erased": hashlib.sha256(row.sealed).digest()})
        if rows:
            tx.run(sa.update(changes).where(
                changes.c.stream_id == stream_id, changes.c.kind == sa.bindparam("of_kind"),
                changes.c.key == sa.bindparam("of_key")), rows)
        return seq

    def _put(self, tx: Tx, stream_id: int, stream: str, seq: int, steps: Sequence[Put]) -> int:
        if not steps:
            return seq
        now = milliseconds(self._clock.now())
        keys = self._vault.keys_of(step.owner for step in steps)
        # Of two puts of one record the later holds.
        last = {(step.kind, step.key): step for step in steps}
        rows = []
        for step in last.values():
            seq += 1
            leaf = Leaf(step.kind, step.key, seq, body_hash(step.body))
            rows.append({
                "stream_id": stream_id, "kind": step.kind, "key": step.key, "seq": seq, "bucket": leaf.bucket,
                "at": now, "owner": step.owner, "erased": None,
                "leaf": keys.seal("", leaf.hash(), "leaf", stream, seq),
                "sealed": keys.seal(step.owner, step.body, "change", stream, step.kind, step.key, seq)})
        insert_or_update(tx, changes, rows)
        return seq

    def _opened(self, tx: Tx, stream: str, where: Any,
                keys_of: Callable[[Iterable[str]], Keyring] | None = None) -> Iterator[Change]:
        rows: Any = tx.run(sa.select(changes.c.seq, changes.c.kind, changes.c.key, changes.c.owner, changes.c.sealed)
                      .where(where).order_by(changes.c.seq))
        before = place("change", stream)
        for part in rows.partitions(4 * AT_ONCE):
            keys = (keys_of or self._vault.keys_of)({row[3] for row in part})
            for row in part:
                yield _change(row[0], row[1], row[2], row[3], row[4], before, keys)


def _change(seq: int, kind: Any, key: str, owner: str, sealed: bytes | None, before: bytes, keys: Keyring) -> Change:
    if sealed is None:
        return Change(seq, "drop", kind, key)
    bound = before + placed(kind) + placed(key) + placed(str(seq))
    return Change(seq, "put", kind, key, keys.open_at(owner, sealed, bound))


__all__ = ["Change", "Delta", "Drop", "Head", "Inventory", "Ledger", "Listener", "Living", "Put", "Tally",
           "milliseconds", "moment"]

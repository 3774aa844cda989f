"""Pages of streams, sealed and ready to be signed: made once, whoever they are for.

A snapshot of a group is the same for all its terminals, so it is encoded and sealed once and kept in memory as long
as a delta leads on from it and nothing in it was dropped since: a removed person is in no page that is still sent.
Called by `distributor` and `catchup`; any thread may use it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from device.store.trust import place
from sync.hub import pages
from sync.hub.keys import Keys
from sync.hub.ledger import Delta, Head, Ledger
from sync.hub.roster import Terminal
from sync.wire.digest import DigestTree
from sync.wire.messages import Page
from sync.wire.seal import GroupSeal, seal_to

KEPT_BYTES = 200_000_000
OWN = "terminal"  # key_id of what is sealed to one terminal
EMPTY = DigestTree().root()


@dataclass(frozen=True, slots=True)
class Edition:
    """All pages that lead to one state of a stream."""

    head: Head
    pages: tuple[Page, ...]

    @property
    def size(self) -> int:
        return sum(len(page.sealed) for page in self.pages)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who can open an edition: the group `group`, or one terminal."""

    site: str
    group: GroupSeal | None = None
    terminal: Terminal | None = None

    @property
    def key_id(self) -> str:
        return self.group.key_id if self.group else OWN

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        if self.group:
            return self.group.seal(plain, bound_to)
        assert self.terminal is not None  # noqa: S101  (one of the two is always given)
        return seal_to(self.terminal.seal_public, plain, bound_to)


class Editions:
    """Makes pages from the ledger, and keeps the snapshots of groups."""

    def __init__(self, ledger: Ledger, keys: Keys) -> None:
        self._ledger, self._keys = ledger, keys
        # Catch-up and the live side both ask, on their own threads.
        self._guard = threading.Lock()
        self._snapshots: OrderedDict[tuple[str, str], Edition] = OrderedDict()

    def reader(self, terminal: Terminal, stream: str) -> Reader:
        """Under which key a terminal reads a stream."""
        kind, _, name = stream.partition("/")
        if kind == "group" and name in terminal.groups:
            return Reader(terminal.site, group=self._keys.of_group(name))
        return Reader(terminal.site, terminal=terminal)

    def delta(self, reader: Reader, stream: str, from_seq: int) -> Edition | None:
        """One page from `from_seq` to the head; None where a snapshot is due. No page where there is nothing new."""
        found = self._ledger.since(stream, from_seq, pages.DELTA_BYTES)
        if found is None:
            return None
        if found.head.seq == from_seq:
            return Edition(found.head, ())
        body = pages.delta(found.changes)
        return _one(reader, found, body) if body is not None else None

    def snapshot(self, reader: Reader, stream: str, at_least: int = 0) -> Edition:
        """All that lives, at the head or at an earlier seq from which a delta without drops leads on; not earlier
        than `at_least`, where the terminal stood already."""
        key = (stream, reader.key_id)
        if reader.group is None:
            return self._snapshot(reader, stream)
        with self._guard:
            kept = self._snapshots.get(key)
            if kept is None or kept.head.seq < at_least or not self._leads_on(kept):
                self._forget(stream)
                kept = self._snapshots[key] = self._snapshot(reader, stream)
            self._snapshots.move_to_end(key)
            while len(self._snapshots) > 1 and sum(kept.size for kept in self._snapshots.values()) > KEPT_BYTES:
                self._snapshots.popitem(last=False)
            return kept

    def repair(self, reader: Reader, stream: str, buckets: tuple[int, ...]) -> Edition | None:
        """All that lives in some buckets; None where a snapshot is due."""
        living = self._ledger.living(stream, buckets)
        body = pages.repair(living.changes, buckets)
        if body is None:
            return None
        head = living.head
        return Edition(head, (_page(reader, head, "repair", (head.seq, head.seq), (0, 1), body),))

    def nothing(self, terminal: Terminal, stream: str, at_least: int) -> Edition:
        """A snapshot of nothing, for a terminal that is to hold the stream no longer."""
        head = self._ledger.head(stream)
        head = Head(stream, head.epoch, max(head.seq, at_least), EMPTY)
        reader = Reader(terminal.site, terminal=terminal)
        page = _page(reader, head, "snapshot", (0, head.seq), (0, 1), pages.snapshot(())[0])
        return Edition(head, (page,))

    def forget_drops(self, stream: str) -> None:
        """Something was dropped: no kept snapshot may hold it any longer."""
        with self._guard:
            self._forget(stream)

    def _snapshot(self, reader: Reader, stream: str) -> Edition:
        living = self._ledger.living(stream)
        bodies = pages.snapshot(living.changes)
        return Edition(living.head, tuple(
            _page(reader, living.head, "snapshot", (0, living.head.seq), (part, len(bodies)), body)
            for part, body in enumerate(bodies)))

    def _leads_on(self, kept: Edition) -> bool:
        later = self._ledger.since(kept.head.stream, kept.head.seq, pages.DELTA_BYTES)
        return (later is not None and later.head.epoch == kept.head.epoch
                and not any(change.op == "drop" for change in later.changes))

    def _forget(self, stream: str) -> None:
        for key in [key for key in self._snapshots if key[0] == stream]:
            del self._snapshots[key]


def _one(reader: Reader, delta: Delta, body: bytes) -> Edition:
    head = delta.head
    return Edition(head, (_page(reader, head, "delta", (delta.from_seq, head.seq), (0, 1), body),))


def _page(reader: Reader, head: Head, form: str, span: tuple[int, int], part: tuple[int, int], body: bytes) -> Page:
    bound_to = place("page", reader.site, head.stream, head.epoch, form, *span, *part, reader.key_id)
    return Page(site=reader.site, stream=head.stream, epoch=head.epoch, form=form,  # type: ignore[arg-type]
                from_seq=span[0], to_seq=span[1], digest=head.digest, key_id=reader.key_id,
                sealed=reader.seal(body, bound_to), part=part[0], parts=part[1])

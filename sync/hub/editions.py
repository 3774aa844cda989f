"""Pages of streams, sealed and ready to be signed: made once, whoever they are for.

A snapshot of a shared stream is the same for all its terminals, so it is encoded and sealed once and kept in memory
as long as a delta leads on from it and nothing in it was dropped since: a removed person is in no page that is still
sent.
Its pages are handed over while the rest is being made, so that the first terminal works on them meanwhile.
Called by `distributor` and `catchup`; any thread may use it.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from sync.hub import pages
from sync.hub.keys import Keys
from sync.hub.ledger import Delta, Head, Ledger
from sync.hub.roster import Terminal
from sync.wire.codec import encode_body
from sync.wire.digest import EMPTY
from sync.wire.messages import Page, PageDetail, detail_place, page_place
from sync.wire.seal import GroupSeal, seal_to

KEPT_BYTES = 200_000_000
OWN = "terminal"  # instead of a key's id, where something is sealed to one terminal


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
    """Who can open an edition: all who hold the shared stream's key, or one terminal."""

    site: str
    shared: GroupSeal | None = None
    terminal: Terminal | None = None

    @property
    def key_id(self) -> str:
        return self.shared.key_id if self.shared else OWN

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        if self.shared:
            return self.shared.seal(plain, bound_to)
        assert self.terminal is not None  # noqa: S101  (one of the two is always given)
        return seal_to(self.terminal.seal_public, plain, bound_to)


class Editions:
    """Makes pages from the ledger, and keeps the snapshots of shared streams."""

    def __init__(self, ledger: Ledger, keys: Keys) -> None:
        self._ledger, self.keys = ledger, keys
        # Catch-up and the live side both ask, on their own threads.
        self._guard = threading.Lock()
        self._snapshots: OrderedDict[tuple[str, str], Edition] = OrderedDict()
        self._drops: Counter[str] = Counter()  # how often something of a stream was dropped

    def reader(self, terminal: Terminal, stream: str) -> Reader:
        """Under which key a terminal reads a stream."""
        if stream in terminal.shared:
            return Reader(terminal.site, shared=self.keys.of_stream(stream))
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

    def snapshot(self, reader: Reader, stream: str, at_least: int = 0,
                 take: Callable[[Page], None] = lambda page: None) -> Edition:
        """All that lives, at the head or at an earlier seq from which a delta without drops leads on; not earlier
        than `at_least`, where the terminal stood already. Each page goes to `take` as soon as there is one."""
        key = (stream, reader.key_id)
        with self._guard:
            kept, drops = self._snapshots.get(key), self._drops[stream]
        if reader.shared is None or kept is None or kept.head.seq < at_least or not self._leads_on(kept):
            kept = self._snapshot(reader, stream, take)
        else:
            for page in kept.pages:
                take(page)
        if reader.shared is not None:
            self._keep(key, kept, drops)
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
        page = _page(reader, head, "snapshot", (0, head.seq), (0, 1), next(pages.snapshot((), 1)))
        return Edition(head, (page,))

    def forget_drops(self, stream: str) -> None:
        """Something was dropped: no kept snapshot may hold it any longer."""
        with self._guard:
            self._drops[stream] += 1
            self._forget(stream)

    def _snapshot(self, reader: Reader, stream: str, take: Callable[[Page], None]) -> Edition:
        made = []
        with self._ledger.inventory(stream) as living:
            parts = pages.parts_of(living.tallies)
            for part, body in enumerate(pages.snapshot(living.changes, parts)):
                page = _page(reader, living.head, "snapshot", (0, living.head.seq), (part, parts), body)
                made.append(page)
                take(page)
        return Edition(living.head, tuple(made))

    def _keep(self, key: tuple[str, str], edition: Edition, drops: int) -> None:
        """Keep a snapshot as the stream's only one, unless something was dropped since `drops` was read."""
        with self._guard:
            if self._drops[edition.head.stream] != drops:
                return
            self._forget(edition.head.stream)
            self._snapshots[key] = edition
            while len(self._snapshots) > 1 and sum(kept.size for kept in self._snapshots.values()) > KEPT_BYTES:
                self._snapshots.popitem(last=False)

    def _leads_on(self, kept: Edition) -> bool:
        later = self._ledger.since(kept.head.stream, kept.head.seq, pages.DELTA_BYTES)
        return (later is not None and later.head.epoch == kept.head.epoch
                and not any(change.op == "drop" for change in later.changes))

    def _forget(self, stream: str) -> None:
        for key in [key for key in self._snapshots if key[0] == stream]:
            del self._snapshots[key]


def _one(reader: Reader, delta: Delta, body: pages.Body) -> Edition:
    head = delta.head
    return Edition(head, (_page(reader, head, "delta", (delta.from_seq, head.seq), (0, 1), body),))


def _page(reader: Reader, head: Head, form: str, span: tuple[int, int], part: tuple[int, int],
          body: pages.Body) -> Page:
    detail = PageDetail(digest=head.digest, form=form, part=part[0], parts=part[1],  # type: ignore[arg-type]
                        models=body.models)
    page = Page(site=reader.site, stream=head.stream, epoch=head.epoch, from_seq=span[0], to_seq=span[1], detail=b"",
                sealed=b"")
    return msgspec.structs.replace(page, detail=reader.seal(encode_body(detail), detail_place(page)),
                                   sealed=reader.seal(body, page_place(page, detail)))

"""Applies what the hub sends: pages in one transaction with their cursor, snapshots staged and swapped, repairs.

Every page ends in a `Verdict`, never in an exception of its own making; what is raised is the store's (a full disk)
or a fault of ours, and leaves the cursor where it was. Called by the agent's main loop with messages whose signature
holds; order, epoch and seal are judged here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum

from device.errors import SealBroken
from device.store.cache_writer import CacheWriter
from device.store.orders import Head, HeadBody
from device.store.receipts import Receipts
from device.store.sqlite import DiskFull
from device.store.staging import Stage, Staging
from device.store.synced import Dropped, SyncedRecords, Told
from device.store.trust import MessageRefused
from sync.agent.bodies import Arrived, read_page
from sync.agent.keyring import Keyring
from sync.agent.streams import Position, Streams
from sync.wire.digest import DigestTree, bucket_hash
from sync.wire.messages import Page, PageBody, PageDetail

log = logging.getLogger(__name__)


class Verdict(Enum):
    """What became of a page."""

    APPLIED = "applied"  # and the digest is the hub's
    DIFFERS = "differs"  # applied, but the digest is not the hub's: repair
    STAGED = "staged"  # kept until the other parts are there
    OLD = "old"  # nothing in it is new
    GAP = "gap"  # something before it is missing, or its epoch is another: report, and the hub sends it
    SEALED = "sealed"  # no key opens it: report, and the hub sends the key
    REFUSED = "refused"  # not a page for this terminal, or not one at all


class Downstream:
    """One per agent; owned by its main thread.

    A snapshot is taken over only where the hub has vouched for it in this run of door-syncd (`vouch`): one that
    somebody kept back, of whatever history, comes too late.
    """

    def __init__(self, site: str, writer: CacheWriter, records: SyncedRecords, staging: Staging, streams: Streams,
                 keyring: Keyring, receipts: Receipts) -> None:
        self._site, self._writer, self._records, self._staging = site, writer, records, staging
        self._streams, self._keyring, self._receipts = streams, keyring, receipts
        self._vouched: dict[str, tuple[str, int, bytes]] = {}
        self._gathered: Gathered | None = None
        self.records_refused = 0

    def page(self, page: Page, is_own_topic: bool) -> Verdict:
        """Apply one page. is_own_topic: it came on this terminal's own topic, where snapshots and repairs may."""
        if page.site != self._site:
            return Verdict.REFUSED
        try:
            opened = self._keyring.page(page)
            detail = opened.detail
            if detail.part >= detail.parts or (detail.form != "delta" and not is_own_topic):
                raise MessageRefused(f"a {detail.form}, part {detail.part} of {detail.parts}, on this topic")
            order = self._order(page, detail)
            if order in (Verdict.OLD, Verdict.REFUSED) or (order is Verdict.GAP and detail.form != "delta"):
                return order
            arrived = self._read(page, detail, opened.body())
        except SealBroken as error:
            log.warning("%s", error)
            return Verdict.SEALED
        except MessageRefused as error:
            log.error("a page of %s is refused: %s", page.stream, error)
            return Verdict.REFUSED
        if order is Verdict.GAP:
            self._drop_early(page, arrived)
            return order
        try:
            return self._delta(page, detail, arrived) if detail.form == "delta" else self._part(page, detail, arrived)
        except DiskFull:
            if self._writer.give_way():
                self._drop_early(page, arrived)
            raise

    def vouch(self, head: Head, body: HeadBody) -> Verdict | None:
        """The hub says, to this very run, that it sends a snapshot that leads to this head. What became of it, where
        it lies here already."""
        self._vouched[head.stream] = (head.epoch, head.seq, body.digest)
        stage = self._staging.stage(head.stream)
        if stage is None or not self._is_vouched(stage) or self._staging.parts_missing(head.stream):
            return None
        return self._take_over(stage)

    def forget(self, stream: str) -> None:
        """A stream that this terminal is to hold no longer, and of which it holds nothing."""
        self._staging.forget(stream)
        self._streams.forget(stream)
        self._vouched.pop(stream, None)

    def _order(self, page: Page, detail: PageDetail) -> Verdict:
        """APPLIED where the page is next."""
        at = self._streams.position(page.stream)
        if detail.form == "delta":
            return _delta_order(page, detail, at, self._records)
        if page.epoch != at.epoch:
            return Verdict.OLD if detail.form == "repair" or self._records.is_past(page.stream, page.epoch) else (
                Verdict.APPLIED)
        is_wanted = page.to_seq >= at.seq and not (
            page.to_seq == at.seq and detail.digest == self._streams.tree(page.stream).root())
        return Verdict.APPLIED if is_wanted else Verdict.OLD

    def _read(self, page: Page, detail: PageDetail, body: PageBody) -> Arrived:
        first = page.from_seq if detail.form == "delta" else -1
        changes = (*body.drops, *body.puts)
        if any(not first < change.seq <= page.to_seq for change in changes):
            raise MessageRefused("a change whose number is not the page's")
        if any(change.op != "drop" for change in body.drops) or any(not 0 <= b < 4096 for b in body.buckets):
            raise MessageRefused("a drop or a bucket that is none")
        arrived = read_page(body)
        if any(not first < told.version <= page.to_seq for told in arrived.told):
            raise MessageRefused("a template whose number is not the page's")
        self._count_refused(arrived.refused, page.stream)
        return arrived

    # --- deltas ----------------------------------------------------------------------------------------------

    def _delta(self, page: Page, detail: PageDetail, arrived: Arrived) -> Verdict:
        at = self._streams.position(page.stream)
        new_drops = [drop for drop in arrived.drops if drop.seq > at.seq]
        with self._writer.together():
            buckets = self._records.drop(page.stream, arrived.drops)
            put, refused = self._records.put(page.stream, arrived.told)
            tree = self._streams.moved(page.stream, self._streams.tree(page.stream), buckets | put)
            self._records.move_to(page.stream, page.epoch, page.to_seq, tree.root())
            if new_drops:
                self._receipts.owe(page.stream, page.epoch, page.to_seq, tree.root(), new_drops)
            self._staging.drop(page.stream, page.epoch, arrived.drops)
        self._count_refused(refused, page.stream)
        return self._moved(Position(page.stream, page.epoch, page.to_seq), tree, detail.digest)

    def _drop_early(self, page: Page, arrived: Arrived) -> None:
        """Deletions do not wait for what is missing before them; their receipt does."""
        if arrived.drops and page.epoch == self._streams.position(page.stream).epoch:
            with self._writer.together():
                self._records.drop_ahead(page.stream, arrived.drops)
                self._staging.drop(page.stream, page.epoch, arrived.drops)

    # --- snapshots and repairs -------------------------------------------------------------------------------

    def _part(self, page: Page, detail: PageDetail, arrived: Arrived) -> Verdict:
        stage = Stage(page.stream, page.epoch, detail.form, page.to_seq, detail.digest, detail.parts)
        known = self._staging.stage(page.stream)
        if known != stage:
            if known is not None and self._must_stay(known, stage):
                return Verdict.OLD
            self._staging.begin(stage)
        elif self._staging.has_part(page.stream, detail.part):
            return Verdict.STAGED
        if arrived.drops:
            self._drop_early(page, arrived)
        with self._staging.in_bulk():
            self._staging.add(page.stream, detail.part, arrived.told, arrived.buckets)
        self._gather(stage, detail.part, arrived)
        if self._staging.parts_missing(page.stream) or not self._is_vouched(stage):
            return Verdict.STAGED
        return self._take_over(stage)

    def _must_stay(self, known: Stage, stage: Stage) -> bool:
        """Whether a snapshot that is arriving goes on, although a part of something else has come."""
        if known.form != "snapshot":
            return False
        if stage.form == "repair" or (self._is_vouched(known) and not self._is_vouched(stage)):
            return True
        return known.epoch == stage.epoch and known.to_seq > stage.to_seq

    def _is_vouched(self, stage: Stage) -> bool:
        return stage.form == "repair" or self._vouched.get(stage.stream) == (stage.epoch, stage.to_seq, stage.digest)

    def _take_over(self, stage: Stage) -> Verdict:
        staged = self._staged_tree(stage)
        if stage.form == "snapshot" and staged.root() != stage.digest:
            log.error("a snapshot of %s is not what the hub signed; it is asked for again", stage.stream)
            self._staging.end(stage.stream)
            return Verdict.GAP
        at = self._streams.position(stage.stream)
        to = at if stage.form == "repair" else Position(stage.stream, stage.epoch, stage.to_seq)
        with self._staging.in_bulk(), self._writer.together():
            gone, refused = self._staging.take_over(stage)
            tree = self._tree_after(stage, staged, refused)
            self._records.move_to(to.stream, to.epoch, to.seq, tree.root())
            # Even where nothing was held: the hub may count on a receipt since before this terminal was blank.
            self._owe(to, tree, gone)
            if not at.is_blank and to.epoch != at.epoch:
                self._records.leave_epoch(at.stream, at.epoch)
        self._count_refused(refused, stage.stream)
        verdict = self._moved(to, tree, stage.digest)
        self._staging.end(stage.stream)
        return verdict if stage.form == "snapshot" or stage.to_seq == at.seq else Verdict.APPLIED

    def _gather(self, stage: Stage, part: int, arrived: Arrived) -> None:
        """Keep the leaves of what is staged in memory as well: to read 200 000 of them in order takes a second."""
        if self._gathered is None or self._gathered.stage != stage:
            self._gathered = Gathered(stage)
        self._gathered.add(part, arrived.told)

    def _staged_tree(self, stage: Stage) -> DigestTree:
        gathered, self._gathered = self._gathered, None
        if stage.form != "snapshot":
            return DigestTree()
        if gathered is not None and gathered.is_whole(stage):
            return gathered.tree()
        tree = DigestTree()
        for bucket, leaves in self._staging.buckets(stage.stream):
            tree.set_bucket(bucket, bucket_hash(leaves))
        return tree

    def _tree_after(self, stage: Stage, staged: DigestTree, refused: int) -> DigestTree:
        if stage.form == "repair":
            buckets = self._staging.repaired_buckets(stage.stream)
            return self._streams.moved(stage.stream, self._streams.tree(stage.stream), buckets)
        return self._streams.built(stage.stream) if refused else staged

    def _owe(self, to: Position, tree: DigestTree, gone: Sequence[Dropped]) -> None:
        self._receipts.owe(to.stream, to.epoch, to.seq, tree.root(), [drop._replace(seq=to.seq) for drop in gone])

    def _moved(self, to: Position, tree: DigestTree, wanted: bytes) -> Verdict:
        self._streams.committed(to, tree)
        if tree.root() == wanted:
            return Verdict.APPLIED
        log.error("%s differs from the hub's at %d", to.stream, to.seq)
        return Verdict.DIFFERS

    def _count_refused(self, count: int, stream: str) -> None:
        if count:
            self.records_refused += count
            log.error("%d records of %s are refused", count, stream)


class Gathered:
    """The leaves of the snapshot that is arriving, bucket by bucket; 32 bytes a record."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._parts: set[int] = set()
        self._leaves: dict[int, bytearray] = {}

    def add(self, part: int, told: Sequence[Told]) -> None:
        self._parts.add(part)
        leaves = self._leaves
        for one in told:
            held = leaves.get(one.bucket)
            if held is None:
                leaves[one.bucket] = bytearray(one.leaf)
            else:
                held += one.leaf

    def is_whole(self, stage: Stage) -> bool:
        """Whether every part passed through here: none was staged before this start, or beside another snapshot."""
        return self.stage == stage and len(self._parts) == stage.parts

    def tree(self) -> DigestTree:
        tree = DigestTree()
        for bucket, held in self._leaves.items():
            tree.set_bucket(bucket, bucket_hash(bytes(held[at:at + 32]) for at in range(0, len(held), 32)))
        return tree


def _delta_order(page: Page, detail: PageDetail, at: Position, records: SyncedRecords) -> Verdict:
    if page.to_seq < page.from_seq or detail.parts != 1:
        return Verdict.REFUSED
    if records.is_past(page.stream, page.epoch):
        return Verdict.OLD
    if at.is_blank or page.epoch != at.epoch:
        return Verdict.GAP  # a stream begins with a snapshot, if only of nothing
    if page.to_seq <= at.seq:
        return Verdict.OLD
    return Verdict.GAP if page.from_seq > at.seq else Verdict.APPLIED



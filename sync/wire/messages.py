"""Every message between terminals and hub, as typed values.

A message travels in a signed envelope (see `codec`). What the broker can read of it is the topic, and of pages and
heads the site, stream, epoch and sequence numbers; all else is sealed: a page's detail and body and a head's under
the group's key or to one terminal, every other message whole to the one who is to read it (`Sealed`). Times are whole
milliseconds since the Unix epoch, UTC. Digests and keys are raw bytes, ids are strings that `topics.checked` accepts
or 32 hex digits.

Fields are only ever added, with a default; a kept sample of each message must decode for ever.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

import msgspec
from msgspec import Meta

from device.store.orders import Body, Count, Desired, Hash, Head, Id, Message, Order, Sealed, Short
from device.store.trust import VERSION, place
from sync.wire.releases import Chunk, ChunkRequest, Offer, Update

BRANCH = "~"
"""Between a journal's id and the name of a branch of it; see `JournalPage`."""

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Kind = Literal["person", "template", "credential", "rule", "schedule", "holiday", "pass", "area", "door",
               "position", "mode", "config", "key"]


# --- hub -> terminals of a group, or one terminal --------------------------------------------------------


class Page(Message, frozen=True, kw_only=True, tag="page"):
    """Changes from_seq+1 .. to_seq of one stream, or one part of a snapshot or of a repair.

    detail  a `PageDetail`, and sealed a `PageBody`; both under the group's key, or to one terminal
    """

    site: Id
    stream: Id
    epoch: Id
    from_seq: Count
    to_seq: Count
    detail: Annotated[bytes, Meta(max_length=20_000)]
    sealed: Body


class PageDetail(msgspec.Struct, frozen=True):
    """What a page is; small, so that it can be read without opening the page.

    digest  of the stream's living records after to_seq (of the whole snapshot, for its parts)
    part    and parts number the pages of one snapshot or repair; 0 and 1 for a delta
    models  of the templates that the page carries
    """

    digest: Hash
    form: Literal["delta", "snapshot", "repair"]
    part: Count = 0
    parts: Annotated[int, Meta(ge=1, le=100_000)] = 1
    models: Annotated[tuple[Short, ...], Meta(max_length=50)] = ()


def detail_place(page: Page) -> bytes:
    """What a page's detail is bound to."""
    return place("page detail", VERSION, page.site, page.stream, page.epoch, page.from_seq, page.to_seq)


def page_place(page: Page, detail: PageDetail) -> bytes:
    """What a page's body is bound to."""
    return place("page", VERSION, page.site, page.stream, page.epoch, detail.form, page.from_seq, page.to_seq,
                 detail.part, detail.parts, *detail.models)


# --- hub -> terminal, sealed to it -----------------------------------------------------------------------


class Acked(Message, frozen=True, kw_only=True, tag="acked"):
    """Up to where the hub has stored the journal: the only licence to prune.

    number  rises as that of heads does
    hash    of the entry stored there: a terminal that has another one was set back and wrote on, and its journal
            forked
    """

    terminal_id: Id
    journal_id: Id
    seq: Count
    number: Count
    hash: Short = ""


class RangeHashes(Message, frozen=True, kw_only=True, tag="range_hashes"):
    """The hub's 64 bucket hashes of each range that differed from the terminal's."""

    terminal_id: Id
    stream: Id
    epoch: Id
    seq: Count
    ranges: Annotated[tuple[tuple[Count, tuple[Hash, ...]], ...], Meta(max_length=64)]


class GroupKey(Message, frozen=True, kw_only=True, tag="group_key", omit_defaults=True):
    """The key of a group's stream or an area's; replaced when a terminal leaves it.

    group   whose it is: the name that its stream has after `scope`
    number  rises as that of heads does: an older key never comes after a newer one
    """

    terminal_id: Id
    group: Id
    key_id: Id
    number: Count
    key: Key
    scope: Literal["group", "area"] = "group"

    @property
    def stream(self) -> str:
        return f"{self.scope}/{self.group}"


# --- terminal -> hub, sealed to it -----------------------------------------------------------------------


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a terminal stands in one stream."""

    stream: Id
    epoch: Id
    seq: Count
    digest: Hash


class HealthBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the terminal is.

    versions    "open-door"; "config" of the configuration it goes by; where releases are installed side by side
                "release", the one that runs, and "machine" ("aarch64 py3.11"), what a bundle must be for
    update      the release that it was offered last; None where it was offered none
    door, mode  the door's phase and mode, as doord says; empty while it says nothing
    """

    versions: dict[str, str] = {}
    clock_quality: Short = ""
    clock_offset_s: float | None = None
    degraded: tuple[Short, ...] = ()
    counts: dict[str, int] = {}
    update: Update | None = None
    door: Short = ""
    mode: Short = ""


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """What a terminal holds and runs; retained, so that the hub knows it at any time.

    session   of this run of door-syncd
    hub_keys  names of the hub's keys that count here
    """

    terminal_id: Id
    boot_id: Id
    issued_ms: Count
    cursors: Annotated[tuple[Cursor, ...], Meta(max_length=200)]
    journal_id: Id
    journal_seq: Count
    acked_seq: Count
    model_ids: Annotated[tuple[Short, ...], Meta(max_length=20)]
    desired_version: Count
    key_ids: Annotated[tuple[Id, ...], Meta(max_length=200)]
    session: Short = ""
    hub_keys: Annotated[tuple[Id, ...], Meta(max_length=20)] = ()
    health: HealthBody = HealthBody()


class Online(Message, frozen=True, kw_only=True, tag="online"):
    """Presence: sent at connection, and as the last will with is_online = false."""

    terminal_id: Id
    is_online: bool
    session: Id


class JournalRow(msgspec.Struct, frozen=True, array_like=True):
    """One journal entry; field for field `device.store.records.Entry` without its journal id."""

    seq: Count
    at_us: Count
    mono: float
    boot_id: Short
    clock_quality: Short
    kind: Short
    reason: Short
    person_id: Short | None
    detail: tuple[tuple[str, Union[str, int, float, bool, None]], ...]
    prev_hash: Short
    hash: Short


class JournalPage(Message, frozen=True, kw_only=True, tag="journal"):
    """Entries from_seq+1 .. to_seq of one journal.

    journal_id  or, of a journal that forked because its terminal was set back, `ID~BRANCH`
    anchor      up to where the terminal has pruned it: what lies before will never come
    """

    terminal_id: Id
    journal_id: Id
    from_seq: Count
    to_seq: Count
    rows: tuple[JournalRow, ...]
    anchor: Count = 0


class RepairRequest(Message, frozen=True, kw_only=True, tag="repair_request"):
    """Equal cursors, unequal digests. First the terminal's 64 range hashes, which the hub answers with RangeHashes;
    then the numbers of the buckets that differ, which it answers with a page of the form "repair"."""

    terminal_id: Id
    stream: Id
    epoch: Id
    seq: Count
    ranges: Annotated[tuple[Hash, ...], Meta(max_length=64)] = ()
    buckets: Annotated[tuple[Count, ...], Meta(max_length=4096)] = ()


class Receipt(Message, frozen=True, kw_only=True, tag="receipt"):
    """Deletions are done, in the file and in the matcher; the digest is the stream's after them.

    dropped  (kind, key, seq of the drop)
    """

    terminal_id: Id
    stream: Id
    epoch: Id
    seq: Count
    digest: Hash
    issued_ms: Count
    dropped: tuple[tuple[Kind, Id, Count], ...] = ()


class Answer(Message, frozen=True, kw_only=True, tag="answer"):
    """The outcome of a command."""

    terminal_id: Id
    command_id: Id
    issued_ms: Count
    outcome: Literal["done", "refused", "failed"]
    reason: Short = ""


ToTerminal = Union[Desired, Order, Acked, RangeHashes, GroupKey, Offer, Chunk]
ToHub = Union[Report, Online, JournalPage, RepairRequest, Receipt, Answer, ChunkRequest]
Outer = Union[Page, Head, Sealed]
AnyMessage = Union[Page, Head, ToTerminal, ToHub]


# --- what a page carries ---------------------------------------------------------------------------------


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One step of a stream. A drop has an empty body. version is the seq at which the record was last put."""

    seq: Count
    op: Literal["put", "drop"]
    kind: Kind
    key: Id
    body: Body = b""


class TemplateColumns(msgspec.Struct, frozen=True):
    """Many templates of one model, column by column: 16 bytes an id, D bytes a vector, little-endian numbers.

    seqs       8 bytes each; person_ids and template_ids 16 bytes each; scales 4 (float32); qualities 1 (0..255);
    created    8 bytes each, milliseconds
    """

    model_id: Short
    dimensions: Annotated[int, Meta(ge=8, le=4096)]
    count: Annotated[int, Meta(ge=0, le=100_000)]
    seqs: bytes
    template_ids: bytes
    person_ids: bytes
    vectors: bytes
    scales: bytes
    qualities: bytes
    created: bytes


class PageBody(msgspec.Struct, frozen=True):
    """What a page carries: drops first, then puts in order, then the templates in columns.

    buckets  of a repair: the records carried are all that live in these buckets; whatever else is held there goes
    """

    drops: tuple[Change, ...] = ()
    puts: tuple[Change, ...] = ()
    templates: tuple[TemplateColumns, ...] = ()
    buckets: tuple[Count, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose templates it carries, as `PageDetail` names them."""
        return tuple(columns.model_id for columns in self.templates)

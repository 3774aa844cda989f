"""What is said of releases: an offer to a terminal, the chunks of its bundle, and what the terminal says of it.

The terminal asks for chunks, a few at a time, so the broker never holds more than those. Each is covered by a hash in
the offer, and the whole by one more; whether the bundle may be installed is for the terminal's updater to verify,
which trusts neither the hub nor door-syncd (`device.update.verification`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from device.store.orders import Body, Count, Hash, Id, Message, Short

MOST_ASKED = 16


class Offer(Message, frozen=True, kw_only=True, tag="offer"):
    """A release that the terminal is to fetch and install; with a size of 0, word that it is offered no longer.

    number       rises as that of heads does: an older offer never comes after a newer one
    release      three numbers; name: of the bundle's file
    sha256       of the whole bundle
    chunk_bytes  of every chunk but the last; chunks: the SHA-256 of each, 32 bytes each, one after another
    """

    terminal_id: Id
    rollout_id: Id
    number: Count
    release: Short = ""
    name: Short = ""
    size: Count = 0
    sha256: Annotated[bytes, Meta(max_length=32)] = b""
    chunk_bytes: Count = 0
    chunks: Annotated[bytes, Meta(max_length=1_000_000)] = b""

    @property
    def is_withdrawn(self) -> bool:
        return self.size == 0


class Chunk(Message, frozen=True, kw_only=True, tag="chunk"):
    """One chunk of the bundle whose SHA-256 is named."""

    terminal_id: Id
    sha256: Hash
    index: Count
    data: Body


class ChunkRequest(Message, frozen=True, kw_only=True, tag="chunk_request"):
    """Chunks of that bundle which the terminal lacks; it asks again for those that do not come."""

    terminal_id: Id
    sha256: Hash
    indexes: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=MOST_ASKED)]


class Update(msgspec.Struct, frozen=True):
    """How far a terminal is with the release that it was offered last; part of its report.

    state  "downloading" (done of total chunks), "waiting" (the updater has it), "trying" (it runs, on trial),
           "applied", "failed" (why: one line)
    """

    rollout_id: Short
    release: Short
    state: Short
    done: Count = 0
    total: Count = 0
    why: Short = ""

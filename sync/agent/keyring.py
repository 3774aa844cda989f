"""The keys that open what the hub sealed: this terminal's own, and those of streams that it shares with others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from device.errors import SealBroken
from device.store.handover import Handover
from device.store.orders import Head, HeadBody, head_place
from device.store.trust import MessageRefused, Opener
from sync.wire.codec import decode_body
from sync.wire.messages import GroupKey, Page, PageBody, PageDetail, detail_place, page_place
from sync.wire.seal import GroupSeal


class Seal(Protocol):
    """Something that opens."""

    def open(self, sealed: bytes, bound_to: bytes) -> bytes: ...


class OpenedPage:
    """A page whose detail was read; its body is opened when it is asked for, which most pages never are twice."""

    def __init__(self, page: Page, detail: PageDetail, seal: Seal) -> None:
        self.detail = detail
        self._page, self._seal = page, seal

    def body(self) -> PageBody:
        """SealBroken where it does not open, MessageRefused where it is none or not what its detail says."""
        body = decode_body(self._seal.open(self._page.sealed, page_place(self._page, self.detail)), PageBody)
        if body.models != self.detail.models:
            raise MessageRefused("a page carries other models' templates than it says")
        return body


class Keyring:
    """Keys of shared streams by id, kept sealed in gallery.db."""

    def __init__(self, opener: Opener, handover: Handover) -> None:
        self._opener, self._handover = opener, handover
        self._keys: dict[str, tuple[str, GroupSeal]] = {}
        self._load()

    def add(self, message: GroupKey) -> bool:
        """Keep a stream's key; false where it is known, or older than one that is. MessageRefused where it is not the
        one that it is called."""
        if GroupSeal(message.key).key_id != message.key_id:
            raise MessageRefused("a stream's key is not the one that it is called")
        is_new = self._handover.put_stream_key(message.stream, message.key_id, message.key, message.number)
        self._load()
        return is_new

    def streams(self) -> tuple[str, ...]:
        """Streams of which a key is held."""
        return tuple(sorted({stream for stream, _ in self._keys.values()}))

    def key_ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def forget(self, stream: str) -> None:
        """Let go of the keys of a stream that this terminal follows no longer."""
        self._handover.drop_stream_keys(stream)
        self._load()

    def page(self, page: Page) -> OpenedPage:
        """SealBroken where no key that is held opens the page, MessageRefused where its detail is none."""
        plain, seal = self._open(page.stream, page.detail, detail_place(page))
        return OpenedPage(page, decode_body(plain, PageDetail), seal)

    def head(self, head: Head) -> HeadBody:
        """What a head says; errors as `page`."""
        return decode_body(self._open(head.stream, head.sealed, head_place(head))[0], HeadBody)

    def _open(self, stream: str, sealed: bytes, bound_to: bytes) -> tuple[bytes, Seal]:
        """Which key opens it is not said on the way; of a stream there are eight at most, the newest first."""
        for seal in self._seals(stream):
            try:
                return seal.open(sealed, bound_to), seal
            except SealBroken:
                continue
        raise SealBroken(f"{stream}: sealed under a key that this terminal does not hold")

    def _seals(self, stream: str) -> Iterator[Seal]:
        yield from (seal for name, seal in reversed(self._keys.values()) if name == stream)
        yield self._opener

    def _load(self) -> None:
        self._keys = {key_id: (stream, GroupSeal(key)) for stream, key_id, key in self._handover.stream_keys()}

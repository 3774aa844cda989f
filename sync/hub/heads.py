"""Says where streams stand: of a shared stream to all its terminals, to one terminal in answer to its report.

What is said to one terminal names the boot and the run of its door-syncd that reported, so that it cannot be a word
from before: by it the terminal learns the time, and takes over the snapshot that leads there.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from device.clock import Clock
from device.store.orders import Head as HeadMessage
from device.store.orders import HeadBody, head_place
from sync.hub.carrier import Link
from sync.hub.keys import Keys
from sync.hub.ledger import Head
from sync.hub.roster import Terminal
from sync.hub.times import milliseconds
from sync.wire import topics
from sync.wire.codec import encode, encode_body
from sync.wire.seal import seal_to
from sync.wire.sign import Signer
from sync.wire.streams import head_topic, owner_of


@dataclass(frozen=True, slots=True)
class Run:
    """Which run of a terminal's door-syncd reported last, in which boot."""

    boot_id: str = ""
    session: str = ""


class Heads:
    """Any thread may use it."""

    def __init__(self, keys: Keys, signer: Signer, clock: Clock, link: Link) -> None:
        self._keys, self._signer, self._clock, self._link = keys, signer, clock, link

    def to_all(self, head: Head, site: str) -> bool:
        """Publish a shared stream's head, retained, under its key; false where the link takes no more."""
        message = HeadMessage(site=site, stream=head.stream, epoch=head.epoch, seq=head.seq, sealed=b"")
        sealed = self._keys.of_stream(head.stream).seal(self._body(head, Run()), head_place(message))
        return self._publish(message, sealed, head_topic(head.stream).of(site, owner_of(head.stream)), True)

    def to_terminal(self, head: Head, terminal: Terminal, run: Run) -> bool:
        """Tell one terminal where a stream stands, or where what it was just sent leads."""
        message = HeadMessage(site=terminal.site, stream=head.stream, epoch=head.epoch, seq=head.seq, sealed=b"")
        sealed = seal_to(terminal.seal_public, self._body(head, run), head_place(message))
        return self._publish(message, sealed, topics.PAGES.of(terminal.site, terminal.terminal_id), False)

    def _body(self, head: Head, run: Run) -> bytes:
        return encode_body(HeadBody(digest=head.digest, issued_ms=milliseconds(self._clock.now()),
                                    number=self._keys.numbers.next(), boot_id=run.boot_id, session=run.session))

    def _publish(self, message: HeadMessage, sealed: bytes, topic: str, retain: bool) -> bool:
        return self._link.publish(topic, encode(msgspec.structs.replace(message, sealed=sealed), topic, self._signer),
                                  retain)

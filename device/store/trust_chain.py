"""Which keys of the hub count now: those of link.toml, and what followed them, each step signed by one before it.

When the hub replaces its keys it announces the new ones under the old, and, once every terminal has them, that the
old ones are over, under the new. Whoever was away for both follows them in order. door-syncd hands the announcements
to doord as they were signed; neither takes the other's word, and link.toml stays as the claim wrote it.

    announcement = an envelope (`store.trust`) of HubKeys, signed for `TOPIC`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from device.store.trust import MessageRefused, Verifier, key_id_of, open_signed

TOPIC = "door/hub-keys"  # what the signature is bound to; never a topic of the broker
MAX_BYTES = 4000
MOST = 64  # announcements in one hand-over

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]


class HubKeys(msgspec.Struct, frozen=True):
    """The hub's valid keys from this announcement on; numbers rise from 1.

    signing  Ed25519, raw; sealing: X25519, raw, what terminals seal to
    """

    number: Annotated[int, Meta(ge=1, le=2**31)]
    signing: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=8)]
    sealing: Key


class TrustChain:
    """Follows announcements. `verifier` is kept current, so that whoever holds it need not ask again.

    least  the number of an announcement that was obeyed before: until the chain has come so far nothing is trusted,
           so that a file that was lost does not bring back a key that is over
    """

    def __init__(self, signing: Iterable[bytes], sealing: bytes, least: int = 0) -> None:
        self._signing, self.sealing, self._least = tuple(signing), sealing, least
        self._followed = Verifier(self._signing)
        self.number = 0
        self.verifier = Verifier()
        self._vouch()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Names of the signing keys that count, and of the one that is sealed to."""
        return (*self.verifier.key_ids, key_id_of(self.sealing))

    def follow(self, data: bytes) -> bool:
        """Take one announcement; false where it is no later one. MessageRefused where it is none, or is not signed by
        a key that counted before it."""
        if len(data) > MAX_BYTES:
            raise MessageRefused(f"an announcement of {len(data)} bytes; at most {MAX_BYTES} are read")
        keys = _keys(open_signed(data, TOPIC, self._followed))
        if keys.number <= self.number:
            return False
        try:
            self._followed.trust_only(keys.signing)
        except ValueError:
            raise MessageRefused("an announcement names a key that is none") from None
        self.number, self._signing, self.sealing = keys.number, keys.signing, keys.sealing
        self._vouch()
        return True

    def _vouch(self) -> None:
        self.verifier.trust_only(self._signing if self.number >= self._least else ())


def _keys(payload: bytes) -> HubKeys:
    try:
        return msgspec.msgpack.decode(payload, type=HubKeys)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not an announcement of keys: {error}") from None

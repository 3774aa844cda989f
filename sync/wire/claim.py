"""How a terminal becomes one of the hub's: what it posts with its claim code, what it gets, and how it renews.

These travel over HTTPS, not MQTT: POST /claim with a JSON `Claim` -> JSON `Claimed`; POST /renew with a signed
envelope (`device.store.trust`) of a JSON `Renewal`, signed by the terminal's own key for `renewal_topic` -> JSON
`Renewed`. A renewal needs no valid certificate, so that a terminal that lay in a drawer for a year comes back.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from device.store.orders import Count, Id, Short
from device.store.trust import VERSION, Envelope, MessageRefused, Verifier, open_signed, signed_bytes
from sync.wire.sign import Signer
from sync.wire.topics import checked

T = TypeVar("T")

Pem = Annotated[str, Meta(min_length=1, max_length=16_000)]
HexKey = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
HexBytes = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$", max_length=8000)]

CLAIM_PATH = "/claim"
RENEW_PATH = "/renew"
MAX_BYTES = 64_000


class Claim(msgspec.Struct, frozen=True):
    """One code, once, and the public halves of the keys that the terminal made for itself."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]
    csr: Pem
    signing_public: HexKey
    sealing_public: HexKey

    def __repr__(self) -> str:
        return "Claim()"


class Claimed(msgspec.Struct, frozen=True):
    """All that the terminal's `link.toml` needs; hub_signing are all keys of the hub that are valid now."""

    terminal_id: Id
    site: Id
    certificate: Pem
    ca: Pem
    broker_host: Short
    broker_port: Annotated[int, Meta(ge=1, le=65535)]
    hub_signing: tuple[HexKey, ...]
    hub_sealing: HexKey


class Renewal(msgspec.Struct, frozen=True):
    """A new certificate request of a terminal that is known already."""

    terminal_id: Id
    csr: Pem
    issued_ms: Count


class Renewed(msgspec.Struct, frozen=True):
    """A new certificate, and the hub's announcements of its keys (`device.store.trust_chain`), in order: a terminal
    that was away for long need not wait for the broker to follow them."""

    certificate: Pem
    ca: Pem
    hub_keys: Annotated[tuple[HexBytes, ...], Meta(max_length=64)] = ()


class Problem(msgspec.Struct, frozen=True):
    """Why something was refused; field is empty where it is not one field's."""

    field: str = ""
    reason: str = ""


class Refusal(msgspec.Struct, frozen=True):
    """What the hub's HTTP API answers instead; a server in between may have its own "detail"."""

    problems: tuple[Problem, ...] = ()
    detail: str = ""


def renewal_topic(site: str, terminal_id: str) -> str:
    """What the signature of a renewal is bound to; never a topic of the broker."""
    return f"door/renewal/{checked(site)}/{checked(terminal_id)}"


def sign_renewal(renewal: Renewal, site: str, signer: Signer) -> bytes:
    """The body to post to RENEW_PATH."""
    payload = msgspec.json.encode(renewal)
    signature = signer.sign(signed_bytes(renewal_topic(site, renewal.terminal_id), payload))
    return msgspec.msgpack.encode(Envelope(VERSION, signer.key_id, signature, payload))


def open_renewal(data: bytes, site: str, terminal_id: str, verifier: Verifier) -> Renewal:
    """The renewal in `data`, signed by the key that `verifier` holds of this terminal; MessageRefused otherwise."""
    renewal = read(open_signed(data, renewal_topic(site, terminal_id), verifier), Renewal)
    if renewal.terminal_id != terminal_id:
        raise MessageRefused("the renewal names another terminal than the one that signed it")
    return renewal


def read(data: bytes, kind: type[T]) -> T:
    """A message of this module from its JSON; MessageRefused where it is none."""
    if len(data) > MAX_BYTES:
        raise MessageRefused(f"{len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not a {kind.__name__}: {error}") from None

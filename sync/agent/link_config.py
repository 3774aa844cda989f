"""Ties this terminal to a hub: keys are made here, a one-time code is claimed, link.toml is written; renewal.

Private keys never leave the folder. link.toml is written last and whole: a claim that was cut short leaves a
terminal that stands alone, and the code, where the hub has not taken it, is still good.
"""

from __future__ import annotations

import logging
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from device.clock import Clock
from device.errors import ConfigError, TerminalError
from device.link import Link, load_private
from device.store.sqlite import sync_folder
from device.store.trust import MessageRefused, Opener
from sync.agent.moments import milliseconds
from sync.agent.tls import tls
from sync.wire.claim import (
    CLAIM_PATH,
    MAX_BYTES,
    RENEW_PATH,
    Claim,
    Claimed,
    Refusal,
    Renewal,
    Renewed,
    read,
    sign_renewal,
)
from sync.wire.csr import is_renewal_due, new_tls_key, request_for
from sync.wire.sign import Signer

log = logging.getLogger(__name__)

TIMEOUT_S = 20.0


class HubRefused(TerminalError, OSError):
    """The hub cannot be reached or does not accept what was asked; one line that says why."""


def claim(hub_url: str, ca: Path, code: str, path: Path, is_clock_trusted: bool = True) -> Claimed:
    """Claim this terminal with a one-time code and write the link to `path`, keys and certificates beside it.

    is_clock_trusted  where not, the dates of the hub's certificate are passed over

    HubRefused where the hub does not accept the code; ConfigError where the folder cannot be written.
    """
    _check_url(hub_url)
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        signing, sealing = _private(folder / "signing.key"), _private(folder / "sealing.key")
        tls = _kept(folder / "tls.key", new_tls_key)
        asked = Claim(code=code, csr=request_for(tls).decode(), signing_public=Signer(signing).public.hex(),
                      sealing_public=Opener(sealing).public.hex())
        claimed = read(_post(hub_url + CLAIM_PATH, msgspec.json.encode(asked), ca, is_clock_trusted), Claimed)
        _write(folder / "terminal.pem", claimed.certificate.encode(), 0o644)
        _write(folder / "ca.pem", claimed.ca.encode(), 0o644)
        _write(path, _toml(claimed, hub_url).encode(), 0o644)
    except MessageRefused as error:
        raise HubRefused(f"the hub answers with something else: {error}") from None
    except OSError as error:
        if isinstance(error, TerminalError):
            raise
        remedy = "run this as root, or name another file with DOOR_LINK"
        raise ConfigError(f"{folder}: {error.strerror}; {remedy}") from None
    return claimed


def renew(link: Link, clock: Clock, is_clock_trusted: bool = True) -> Renewed | None:
    """Renew the certificate where it is past two thirds of its life; what the hub gave, None where it is not due.
    HubRefused where the hub cannot be reached or refuses: then try again later."""
    try:
        certificate = link.certificate.read_bytes()
    except OSError:
        certificate = b""
    if not link.hub_url or not is_renewal_due(certificate, clock.now()):
        return None
    signer = Signer(load_private(link.signing_key))
    asked = Renewal(terminal_id=link.terminal_id, csr=request_for(link.key.read_bytes()).decode(),
                    issued_ms=milliseconds(clock.now()))
    try:
        answer = _post(link.hub_url + RENEW_PATH, sign_renewal(asked, link.site, signer), link.ca,
                       is_clock_trusted)
        renewed = read(answer, Renewed)
    except MessageRefused as error:
        raise HubRefused(f"the hub answers with something else: {error}") from None
    _write(link.ca, renewed.ca.encode(), 0o644)
    _write(link.certificate, renewed.certificate.encode(), 0o644)
    return renewed


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    is_loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback)):
        raise ConfigError(f"{url[:200]}: the hub's address must begin with https:// (http:// for this machine only)")
    if parts.path.rstrip("/") or parts.query:
        raise ConfigError(f"{url[:200]}: give the hub's address without a path")


def _post(url: str, data: bytes, ca: Path, is_clock_trusted: bool) -> bytes:
    context = None
    if url.startswith("https:"):
        try:
            context = tls(ca, is_clock_trusted)
        except OSError as error:
            raise ConfigError(f"{ca}: {error.strerror or error}; give the hub's certificate with --ca") from None
    asked = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"})  # noqa: S310  (checked)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
            found: bytes = answer.read(MAX_BYTES + 1)
            return found
    except urllib.error.HTTPError as error:
        raise HubRefused(f"the hub refuses: {_reason(error)}") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise HubRefused(f"{url}: the hub cannot be reached: {getattr(error, 'reason', error)}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    """What the hub says, in one line: its list of problems, or what a server in between put into "detail"."""
    try:
        told = msgspec.json.decode(error.read(MAX_BYTES), type=Refusal)
    except (msgspec.DecodeError, OSError):
        told = Refusal()
    words = "; ".join(f"{one.field}: {one.reason}" if one.field else one.reason for one in told.problems)
    return " ".join((words or told.detail).split())[:300] or f"HTTP {error.code}"


def _private(path: Path) -> bytes:
    return _kept(path, lambda: secrets.token_bytes(32))


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """What is in the file already, or something new, kept there (0600)."""
    if not path.exists():
        _write(path, make(), 0o600)
    return path.read_bytes()


def _write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file, whole or not at all."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _toml(claimed: Claimed, hub_url: str) -> str:
    values = {
        "terminal_id": claimed.terminal_id, "site": claimed.site, "broker_host": claimed.broker_host,
        "broker_port": claimed.broker_port, "hub_url": hub_url, "hub_signing": list(claimed.hub_signing),
        "hub_sealing": claimed.hub_sealing,
    }
    # JSON's texts, numbers and lists of texts are TOML's as well.
    lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in values.items()]
    return "\n".join(["# Written by `door-syncd claim`; which hub this terminal belongs to.", *lines]) + "\n"

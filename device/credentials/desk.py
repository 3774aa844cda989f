"""The credential desk: what readers took in becomes a claim, which the door thread then judges.

A thread of its own, because checking a PIN takes a tenth of a second by design. It only says who somebody seems to
be; whether that admits them is the policy's affair. Nothing that was shown is kept or logged.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from pathlib import Path

from device.clock import Clock, ClockQuality
from device.credentials import pin, qr_pass
from device.door.decision import Claim
from device.door.types import CredentialShown
from device.errors import SealBroken, StoreError
from device.store.cache import CacheReader
from device.store.records import Credential, Method
from device.store.seal import Key
from device.store.trust import Verifier
from device.threads import Worker

log = logging.getLogger(__name__)

MOST_WAITING = 16
WAIT_S = 0.5
_REFUSED = {Method.CARD: "unknown_card", Method.PIN: "wrong_pin", Method.QR: "bad_pass"}


class CredentialDesk:
    """claimed  hands a claim to the door thread
    awaited  whose second proof the door waits for: a PIN without a number is theirs
    """

    def __init__(self, gallery_db: Path, key: Key, verifier: Verifier, clock: Clock,
                 quality: Callable[[], ClockQuality], claimed: Callable[[Claim], None],
                 awaited: Callable[[], str | None]) -> None:
        self._path, self._key, self._verifier = gallery_db, key, verifier
        self._clock, self._quality, self._claimed, self._awaited = clock, quality, claimed, awaited
        self._waiting: queue.Queue[CredentialShown] = queue.Queue(MOST_WAITING)
        self._reader: CacheReader | None = None
        self.dropped = 0

    def offer(self, shown: CredentialShown) -> bool:
        """Take what was shown, from any thread; False where too many wait."""
        try:
            self._waiting.put_nowait(shown)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def run(self, worker: Worker) -> None:
        """Body of the thread."""
        while not worker.stopping.is_set():
            worker.beat()
            try:
                shown = self._waiting.get(timeout=WAIT_S)
            except queue.Empty:
                continue
            self._claimed(self.claim_of(shown))
        self.close()

    def claim_of(self, shown: CredentialShown) -> Claim:
        """Who a credential says somebody is; nobody where it is not known, is no longer valid, or cannot be read."""
        nobody = Claim(None, frozenset({shown.method}), _REFUSED.get(shown.method, "unknown_card"),
                       direction=shown.direction, reader=shown.reader, since_mono=shown.mono)
        try:
            if self._reader is None or self._reader.is_stale():
                self.close()
                self._reader = CacheReader.open(self._path, self._key)
            return self._claim(shown, nobody, self._reader)
        except (StoreError, SealBroken) as error:
            log.error("a %s cannot be looked up: %s", shown.method.value, error)
            self.close()
            return nobody

    def _claim(self, shown: CredentialShown, nobody: Claim, reader: CacheReader) -> Claim:
        if shown.method is Method.CARD:
            return self._held(nobody, reader.find_credentials(Method.CARD, shown.secret))
        if shown.method is Method.PIN:
            return self._typed(shown.secret, nobody, reader)
        if shown.method is Method.QR:
            found = qr_pass.read_pass(shown.secret.decode("ascii", "replace"), self._verifier)
            return nobody if found is None else _with(nobody, found.person_id, qr_pass=found.facts)
        return nobody

    def _typed(self, secret: bytes, nobody: Claim, reader: CacheReader) -> Claim:
        parts = pin.split(secret)
        if parts is None:
            return nobody
        number, digits = parts
        person_id = None if number else self._awaited()
        if number:
            candidates = reader.find_credentials(Method.PIN, number.encode())
        else:
            candidates = [one for one in reader.credentials(person_id or "") if one.method is Method.PIN]
        if not candidates:
            pin.waste()
        right = [one for one in candidates if pin.is_right(one.secret, digits)]
        tried = candidates[0].person_id if candidates else None
        return self._held(_with(nobody, None, tried_person_id=tried), right)

    def _held(self, nobody: Claim, found: list[Credential]) -> Claim:
        """The claim of a credential's holder; one that has run out is nobody's."""
        if not found:
            return nobody
        one = found[0]
        if one.valid_until is not None:
            is_sure = self._quality() is not ClockQuality.UNTRUSTED
            if not is_sure or self._clock.now() >= one.valid_until:
                return _with(nobody, None, tried_person_id=one.person_id,
                             reason_if_none="expired" if is_sure else "clock_untrusted")
        return _with(nobody, one.person_id, is_duress=one.is_duress)

    def close(self) -> None:
        """Let go of the gallery; `run` does it at its end, who calls `claim_of` alone does it by hand."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _with(claim: Claim, person_id: str | None, **more: object) -> Claim:
    from dataclasses import replace

    return replace(claim, person_id=person_id, **more)  # type: ignore[arg-type]

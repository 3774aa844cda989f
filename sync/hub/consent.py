"""Consent: without a record of it that holds today no face is enrolled and none is kept.

Kept per person, sealed under the person's key; only ids and the times that decide are in the clear. Called by every
way in (API, CLI, import) through `enrol`, and by the hub's housekeeping, which removes faces whose consent has ended.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from device.errors import EnrolmentRefused
from device.store import body
from device.store.records import Consent
from sync.hub.errors import FieldRefused
from sync.hub.schema import consents
from sync.hub.storage import Storage, Tx
from sync.hub.times import checked, milliseconds, moment
from sync.hub.vault import Vault

KEPT, NOT_KEPT = "face picture (kept, sealed)", "face picture (used once, not kept)"
PURPOSES = ("opening the doors of the groups that I belong to", "the record of who passed")
MEANS = ("paper", "screen", "verbal", "import")
LONGEST_ID = 64
_LONGEST, _MOST = 200, 20


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a person is told and agrees to; text by language."""

    text_version: str
    kinds: tuple[str, ...]
    purposes: tuple[str, ...]
    text: Mapping[str, str]


def _agreement(text_version: str, picture: str, en: str, zh: str) -> Agreement:
    return Agreement(text_version, (picture, "face template", "name", "access events"), PURPOSES, {
        "en": ("I agree that a template is computed from my face picture; that the template and my name are kept "
               "sealed by the operator's server and sent, encrypted, to the terminals of the doors that I may use; "
               "that faces at these doors are compared with it; that the door opens or stays shut by the result; and "
               f"that it is recorded when I was let in or refused. {en} I can withdraw at any time: my template and "
               "name are then deleted for good, on the server and on every terminal. I know that there is another "
               "way in than my face."),
        "zh": ("我同意由我的人脸照片计算特征值；特征值与姓名加密保存在运营方的服务器上，"
               "并以加密方式传输至我可通行之门的终端；"
               f"在这些门比对人脸，并按比对结果开门或不开门；记录我的通行或被拒时间。{zh}"
               "我可随时撤回同意，届时服务器与所有终端上的特征值与姓名将被彻底删除。我已知晓除人脸外还有其他通行方式。"),
    })


PLAIN = _agreement("fleet-1", NOT_KEPT, "The picture itself is not kept.", "照片本身不保存。")
WITH_PICTURES = _agreement(
    "fleet-1-pictures", KEPT, "The picture is kept sealed by the operator's server and deleted with the template; it "
    "is sent to no terminal.", "照片加密保存在运营方的服务器上，随特征值一并删除，不发送至任何终端。")


@dataclass(frozen=True, slots=True)
class State:
    """A consent as far as it decides: withdrawn is when it was withdrawn."""

    consent_id: str
    given: datetime
    valid_until: datetime | None
    withdrawn: datetime | None


def of_text(clock: Clock, means: str, given: datetime | None = None, valid_until: datetime | None = None,
            agreement: Agreement = PLAIN) -> Consent:
    """A new record of consent to one of the hub's own texts."""
    return Consent(secrets.token_hex(16), agreement.text_version, agreement.kinds, agreement.purposes,
                   given or clock.now(), means, valid_until)


def check(consent: Consent | None, now: datetime) -> Consent:
    """The consent, where it is complete and holds now; EnrolmentRefused, or FieldRefused naming the field."""
    if consent is None:
        raise EnrolmentRefused("no consent, no face: record the person's consent first")
    for field, value in (("consent_id", consent.consent_id), ("text_version", consent.text_version),
                         ("means", consent.means)):
        _check_word(field, value)
    if len(consent.consent_id) > LONGEST_ID:
        raise FieldRefused("consent.consent_id", f"at most {LONGEST_ID} characters")
    if consent.means not in MEANS:
        raise FieldRefused("consent.means", f"how it was given: one of {', '.join(MEANS)}")
    for field, words in (("kinds", consent.kinds), ("purposes", consent.purposes)):
        if not 1 <= len(words) <= _MOST:
            raise FieldRefused(f"consent.{field}", f"name 1 to {_MOST}: the person must have been told")
        for word in words:
            _check_word(field, word)
    for field, at in (("given_at", consent.given_at), ("valid_until", consent.valid_until)):
        if at is not None:
            checked(f"consent.{field}", at)
    if consent.given_at > now:
        raise FieldRefused("consent.given_at", "lies in the future")
    if consent.valid_until is not None and consent.valid_until <= now:
        raise EnrolmentRefused(f"consent {consent.consent_id} ended on {consent.valid_until:%Y-%m-%d}; ask for a new "
                               "one")
    return consent


class Consents:
    """The consents that the hub holds."""

    def __init__(self, storage: Storage, vault: Vault, clock: Clock) -> None:
        self._storage, self._vault, self._clock = storage, vault, clock

    def put(self, person_id: str, consent: Consent, tx: Tx) -> None:
        """Record a consent; nothing to do for one that is recorded already. EnrolmentRefused where its id stands for
        a withdrawn one, another person's, or one that said something else."""
        known = tx.one(sa.select(consents).where(consents.c.consent_id == consent.consent_id))
        if known is not None:
            if known.withdrawn is not None:
                raise EnrolmentRefused(f"consent {consent.consent_id} was withdrawn on "
                                       f"{moment(known.withdrawn):%Y-%m-%d}; ask for a new one")
            if known.person_id != person_id:
                raise EnrolmentRefused(f"consent {consent.consent_id} is another person's")
            if self._opened(known) != consent:
                raise EnrolmentRefused(f"consent {consent.consent_id} is recorded already and said something else; "
                                       "give the new one an id of its own")
            return
        tx.run(sa.insert(consents).values(
            consent_id=consent.consent_id, person_id=person_id, given=milliseconds(consent.given_at),
            valid_until=milliseconds(consent.valid_until) if consent.valid_until else None,
            sealed=self._vault.seal(person_id, body.encode(consent), "consent", consent.consent_id)))

    def current(self, person_id: str, tx: Tx) -> Consent | None:
        """The person's newest consent that is neither withdrawn nor over."""
        row = tx.one(sa.select(consents).where(
            consents.c.person_id == person_id, *_holds(milliseconds(self._clock.now())))
            .order_by(consents.c.given.desc(), consents.c.consent_id).limit(1))
        return None if row is None else self._opened(row)

    def withdraw(self, person_id: str, at: datetime, tx: Tx) -> int:
        """Mark all of a person's consents withdrawn at that time; how many there were. The faces go with `people`."""
        return int(tx.run(sa.update(consents).where(
            consents.c.person_id == person_id, consents.c.withdrawn.is_(None))
            .values(withdrawn=milliseconds(at))).rowcount)

    def states(self, person_id: str) -> list[State]:
        """Every consent of a person, the newest first."""
        with self._storage.read() as tx:
            rows = tx.all(sa.select(consents).where(consents.c.person_id == person_id)
                          .order_by(consents.c.given.desc()))
        return [State(row.consent_id, moment(row.given), moment(row.valid_until) if row.valid_until else None,
                      moment(row.withdrawn) if row.withdrawn else None) for row in rows]

    def lapsed(self, tx: Tx) -> list[str]:
        """Consents that are withdrawn or over."""
        holds = sa.and_(*_holds(milliseconds(self._clock.now())))
        return [row.consent_id for row in tx.all(sa.select(consents.c.consent_id).where(sa.not_(holds)))]

    def _opened(self, row: sa.Row[Any]) -> Consent:
        return body.decode(Consent, self._vault.open_one(row.person_id, row.sealed, "consent", row.consent_id))


def _holds(now: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (consents.c.withdrawn.is_(None), sa.or_(consents.c.valid_until.is_(None), consents.c.valid_until > now))


def _check_word(field: str, word: str) -> None:
    if not word.strip() or len(word) > _LONGEST or not word.isprintable():
        raise FieldRefused(f"consent.{field}", f"give 1 to {_LONGEST} printable characters")

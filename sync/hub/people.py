"""Persons: who is known, to which groups they belong, and what of that every terminal of those groups is told.

The one place that writes persons, templates and credentials, together with the ledger and in one transaction; so
whatever way somebody came in or went, the streams say so. A person's record is the same in the stream of every group
that they belong to; leaving a group is a drop in that group's stream. Removal ends the person's key besides.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from device.clock import Clock
from device.enrolment import check_label
from device.errors import EnrolmentRefused
from device.store import body
from device.store.records import Consent, Credential, Method, Person, PersonClass, Template
from sync.hub.consent import Consents
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.groups import Groups
from sync.hub.ledger import Drop, Ledger, Put, group_stream, milliseconds
from sync.hub.schema import credentials, memberships, meta, persons, photos, shreds, templates
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.vault import Vault
from sync.wire.templates import template_body

LONGEST_EXTERNAL = 100
MOST_GROUPS = 50
MOST_TEMPLATES = 20
MOST_CREDENTIALS = 20
ERASURE_DUE = "erasure_due"
FACES = "faces"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What is known of a person before they are one. external_id: the customer's own, which stays at the hub."""

    label: str
    groups: tuple[str, ...]
    external_id: str | None = None
    person_class: PersonClass = PersonClass.REGULAR
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def __repr__(self) -> str:
        return "Newcomer()"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is sealed of a person."""

    person: Person
    external_id: str | None = None

    def __repr__(self) -> str:
        return f"Kept({self.person.person_id})"


@dataclass(frozen=True, slots=True)
class Known:
    """A person as the hub shows them."""

    person: Person
    external_id: str | None
    template_ids: tuple[str, ...]
    credential_ids: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Known({self.person.person_id})"


class People:
    """Every person of the hub; any thread may use it."""

    def __init__(self, storage: Storage, vault: Vault, ledger: Ledger, groups: Groups, consents: Consents,
                 clock: Clock) -> None:
        self._storage, self._vault, self._ledger = storage, vault, ledger
        self._groups, self._consents, self._clock = groups, consents, clock

    # --- coming ----------------------------------------------------------------------------------------------

    def add(self, newcomer: Newcomer, tx: Tx | None = None, person_id: str | None = None) -> str:
        """The new person's id. InTheWay where the external id is somebody's already; NotThere for a group."""
        if tx is None:
            with self._storage.write() as own:
                return self.add(newcomer, own, person_id)
        person = Person(person_id or secrets.token_hex(16), check_label(newcomer.label),
                        self._groups.check(_some(newcomer.groups), tx), newcomer.person_class,
                        *_span(newcomer.valid_from, newcomer.valid_until))
        external = _external(newcomer.external_id)
        finder = self._finder(external)
        if finder is not None and (holder := self._holder(tx, finder)):
            raise InTheWay(f"external_id: person {holder} has it already")
        self._vault.make(person.person_id)
        tx.run(sa.insert(persons).values(
            person_id=person.person_id, external=finder, created=milliseconds(self._clock.now()),
            sealed=self._sealed(Kept(person, external))))
        self._set_memberships(tx, person.person_id, person.groups)
        self._spread(tx, person, joined=person.groups)
        return person.person_id

    def add_faces(self, person_id: str, fresh: Sequence[Template], consent: Consent,
                  pictures: Sequence[bytes] | None, tx: Tx) -> None:
        """Keep templates (with the pictures they were made from, where those are to be kept) under a consent that
        has been checked; the person's record carries the consent from now on."""
        kept = self._kept(tx, person_id)
        held = tx.value(sa.select(sa.func.count()).where(templates.c.person_id == person_id))
        if held + len(fresh) > MOST_TEMPLATES:
            raise EnrolmentRefused(f"person {person_id} would have {held + len(fresh)} templates, at most "
                                   f"{MOST_TEMPLATES} are kept; remove some first")
        self._consents.put(person_id, consent, tx)
        generation = _next_generation(tx)
        keys = self._vault.keys_of([person_id])
        tx.run(sa.insert(templates), [
            {"template_id": one.template_id, "person_id": person_id, "model_id": one.model_id,
             "consent_id": consent.consent_id, "generation": generation,
             "sealed": keys.seal(person_id, template_body(one), "template", one.template_id)} for one in fresh])
        if pictures is not None:
            tx.run(sa.insert(photos), [
                {"template_id": one.template_id, "person_id": person_id,
                 "sealed": keys.seal(person_id, data, "photo", one.template_id)}
                for one, data in zip(fresh, pictures, strict=True)])
        person = replace(kept.person, consent=consent)
        self._replace(tx, Kept(person, kept.external_id))
        self._append(tx, person.groups, [_put_person(person), *(_put_template(person_id, one.template_id,
                                                                              template_body(one)) for one in fresh)])

    def add_credential(self, person_id: str, method: Method, secret: bytes, is_duress: bool = False,
                       valid_until: datetime | None = None) -> str:
        """Give a person a card number or the hash of a PIN. InTheWay where the card is somebody's already."""
        if method is Method.FACE or not 1 <= len(secret) <= 500:
            raise FieldRefused("credential", "give a card, PIN or QR secret of 1 to 500 bytes")
        finder = self._vault.finder("credential", method.value, secret)
        with self._storage.write() as tx:
            kept = self._kept(tx, person_id)
            if tx.value(sa.select(sa.func.count()).where(credentials.c.person_id == person_id)) >= MOST_CREDENTIALS:
                raise InTheWay(f"person {person_id} has {MOST_CREDENTIALS} credentials; remove some first")
            if tx.one(sa.select(credentials.c.person_id).where(credentials.c.finder == finder)):
                raise InTheWay("credential: it is somebody's already")
            one = Credential(secrets.token_hex(16), person_id, method, secret, is_duress, valid_until)
            plain = body.encode(one)
            tx.run(sa.insert(credentials).values(
                credential_id=one.credential_id, person_id=person_id, method=method.value, finder=finder,
                sealed=self._vault.seal(person_id, plain, "credential", one.credential_id)))
            self._append(tx, kept.person.groups, [Put("credential", one.credential_id, plain, person_id)])
        return one.credential_id

    # --- changing --------------------------------------------------------------------------------------------

    def change(self, person_id: str, label: str | None = None, person_class: PersonClass | None = None,
               span: tuple[datetime | None, datetime | None] | None = None) -> None:
        """Another name, class or time of validity; what is None stays."""
        with self._storage.write() as tx:
            kept = self._kept(tx, person_id)
            person = kept.person
            valid_from, valid_until = _span(*span) if span is not None else (person.valid_from, person.valid_until)
            person = replace(person, label=person.label if label is None else check_label(label),
                             person_class=person_class or person.person_class, valid_from=valid_from,
                             valid_until=valid_until)
            if person != kept.person:
                self._replace(tx, Kept(person, kept.external_id))
                self._append(tx, person.groups, [_put_person(person)])

    def set_groups(self, person_id: str, group_ids: Iterable[str]) -> None:
        """The groups that a person belongs to from now on; who leaves one is dropped at its terminals."""
        with self._storage.write() as tx:
            kept = self._kept(tx, person_id)
            now, before = set(self._groups.check(_some(tuple(group_ids)), tx)), set(kept.person.groups)
            if now == before:
                return
            person = replace(kept.person, groups=tuple(sorted(now)))
            self._replace(tx, Kept(person, kept.external_id))
            self._set_memberships(tx, person_id, person.groups)
            self._append(tx, before - now, self._drops(tx, [person_id]))
            self._append(tx, before & now, [_put_person(person)])
            self._spread(tx, person, joined=now - before)
            _note_erasure(tx)

    # --- going -----------------------------------------------------------------------------------------------

    def remove(self, person_ids: Iterable[str]) -> int:
        """Remove persons with all that is theirs, for good; how many there were. NotThere where one is not.

        Their keys are destroyed right after the commit; should that be cut short, `finish_removals` makes up for it.
        """
        gone = sorted(set(person_ids))
        with self._storage.write() as tx:
            of_group: dict[str, list[str]] = {}
            for part in _parts(gone):
                known = {row.person_id for row in tx.all(
                    sa.select(persons.c.person_id).where(persons.c.person_id.in_(part)))}
                if missing := set(part) - known:
                    raise NotThere(f"there is no person {min(missing)[:60]!r}")
                for row in tx.all(sa.select(memberships).where(memberships.c.person_id.in_(part))):
                    of_group.setdefault(row.group_id, []).append(row.person_id)
            for group_id, members in of_group.items():
                self._append(tx, [group_id], self._drops(tx, members))
            for part in _parts(gone):
                tx.run(sa.delete(persons).where(persons.c.person_id.in_(part)))
            insert_or_update(tx, shreds, [{"person_id": person_id} for person_id in gone])
            if gone:
                _note_erasure(tx)
        self.finish_removals()
        return len(gone)

    def finish_removals(self) -> None:
        """Destroy the keys of whoever was removed."""
        with self._storage.read() as tx:
            gone = [row.person_id for row in tx.all(sa.select(shreds))]
        if gone:
            self._vault.destroy(gone)
            with self._storage.write() as tx:
                for part in _parts(gone):
                    tx.run(sa.delete(shreds).where(shreds.c.person_id.in_(part)))

    def remove_faces(self, person_id: str, template_ids: Iterable[str] | None = None) -> int:
        """Remove some or all of a person's templates and their pictures; how many went."""
        with self._storage.write() as tx:
            self._kept(tx, person_id)
            wanted = None if template_ids is None else set(template_ids)
            gone = [one for one in self._templates_of(tx, person_id) if wanted is None or one in wanted]
            if wanted is not None and len(gone) != len(wanted):
                raise NotThere(f"person {person_id} has no such template")
            self._drop_templates(tx, person_id, gone)
        return len(gone)

    def withdraw_consent(self, person_id: str) -> int:
        """The person has withdrawn: consents are marked so, the faces go; how many templates went."""
        with self._storage.write() as tx:
            self._consents.withdraw(person_id, tx)
            return self._end_faces(tx, person_id, self._templates_of(tx, person_id))

    def end_lapsed_consents(self) -> int:
        """Remove the faces whose consent has run out; how many templates went."""
        with self._storage.write() as tx:
            owners: dict[str, list[str]] = {}
            for part in _parts(self._consents.lapsed(tx)):
                for row in tx.all(sa.select(templates).where(templates.c.consent_id.in_(part))):
                    owners.setdefault(row.person_id, []).append(row.template_id)
            return sum(self._end_faces(tx, person_id, gone) for person_id, gone in owners.items())

    def remove_credential(self, person_id: str, credential_id: str) -> None:
        """NotThere where the person has none such."""
        with self._storage.write() as tx:
            kept = self._kept(tx, person_id)
            here = (credentials.c.person_id == person_id, credentials.c.credential_id == credential_id)
            if not tx.run(sa.delete(credentials).where(*here)).rowcount:
                raise NotThere(f"person {person_id} has no credential {credential_id[:60]!r}")
            self._append(tx, kept.person.groups, [Drop("credential", credential_id)])
            _note_erasure(tx)

    # --- asking ----------------------------------------------------------------------------------------------

    def get(self, person_id: str) -> Known:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            kept = self._kept(tx, person_id)
            return Known(kept.person, kept.external_id, tuple(self._templates_of(tx, person_id)),
                         tuple(self._credentials_of(tx, person_id)))

    def find(self, external_id: str) -> str | None:
        """Whose external id that is."""
        finder = self._finder(external_id)
        with self._storage.read() as tx:
            return self._holder(tx, finder) if finder is not None else None

    def page(self, limit: int, after: str = "", group_id: str | None = None) -> list[Known]:
        """At most `limit` persons in the order of their ids, which is none in particular, after that one."""
        with self._storage.read() as tx:
            wanted = sa.select(persons).where(persons.c.person_id > after)
            if group_id is not None:
                wanted = wanted.join(memberships, memberships.c.person_id == persons.c.person_id).where(
                    memberships.c.group_id == group_id)
            rows = tx.all(wanted.order_by(persons.c.person_id).limit(limit))
            ids = [row.person_id for row in rows]
            keys = self._vault.keys_of(ids)
            faces = self._ids(tx, templates.c.template_id, ids)
            cards = self._ids(tx, credentials.c.credential_id, ids)
            found = []
            for row in rows:
                kept = body.decode(Kept, keys.open(row.person_id, row.sealed, "person", row.person_id))
                found.append(Known(kept.person, kept.external_id, tuple(faces.get(row.person_id, ())),
                                   tuple(cards.get(row.person_id, ()))))
            return found

    def beginning_with(self, digits: str) -> list[str]:
        """At most ten ids that begin so."""
        with self._storage.read() as tx:
            return [row.person_id for row in tx.all(
                sa.select(persons.c.person_id).where(persons.c.person_id.startswith(digits, autoescape=True))
                .limit(10))]

    def has(self, person_id: str) -> bool:
        with self._storage.read() as tx:
            return tx.one(sa.select(persons.c.person_id).where(persons.c.person_id == person_id)) is not None

    def count(self) -> int:
        with self._storage.read() as tx:
            return int(tx.value(sa.select(sa.func.count()).select_from(persons)) or 0)

    def photo(self, template_id: str) -> bytes | None:
        """The picture behind a template, where pictures are kept."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(photos).where(photos.c.template_id == template_id))
        return None if row is None else self._vault.open_one(row.person_id, row.sealed, "photo", template_id)

    def forget_unreadable(self) -> int:
        """After a restore: remove whoever's key has been destroyed since; how many there were."""
        with self._storage.read() as tx:
            known = {row.person_id for row in tx.all(sa.select(persons.c.person_id))}
        return self.remove(known - self._vault.known())

    # --- inside ----------------------------------------------------------------------------------------------

    def _kept(self, tx: Tx, person_id: str) -> Kept:
        row = tx.one(sa.select(persons.c.sealed).where(persons.c.person_id == person_id))
        if row is None:
            raise NotThere(f"there is no person {person_id[:60]!r}")
        return body.decode(Kept, self._vault.open_one(person_id, row.sealed, "person", person_id))

    def _sealed(self, kept: Kept) -> bytes:
        person_id = kept.person.person_id
        return self._vault.seal(person_id, body.encode(kept), "person", person_id)

    def _replace(self, tx: Tx, kept: Kept) -> None:
        tx.run(sa.update(persons).where(persons.c.person_id == kept.person.person_id)
               .values(sealed=self._sealed(kept)))

    def _set_memberships(self, tx: Tx, person_id: str, group_ids: Sequence[str]) -> None:
        tx.run(sa.delete(memberships).where(memberships.c.person_id == person_id))
        tx.run(sa.insert(memberships), [{"person_id": person_id, "group_id": one} for one in group_ids])

    def _spread(self, tx: Tx, person: Person, joined: Iterable[str]) -> None:
        """Say all that is a person's to groups that have not heard of them."""
        keys = self._vault.keys_of([person.person_id])
        steps = [_put_person(person)]
        for row in tx.all(sa.select(templates).where(templates.c.person_id == person.person_id)):
            plain = keys.open(person.person_id, row.sealed, "template", row.template_id)
            steps.append(_put_template(person.person_id, row.template_id, plain))
        for row in tx.all(sa.select(credentials).where(credentials.c.person_id == person.person_id)):
            plain = keys.open(person.person_id, row.sealed, "credential", row.credential_id)
            steps.append(Put("credential", row.credential_id, plain, person.person_id))
        self._append(tx, joined, steps)

    def _append(self, tx: Tx, group_ids: Iterable[str], steps: Sequence[Put | Drop]) -> None:
        for group_id in sorted(group_ids):
            self._ledger.append(group_stream(group_id), steps, tx)

    def _drops(self, tx: Tx, person_ids: Sequence[str]) -> list[Drop]:
        """Drops of all that is these persons'."""
        found = [Drop("person", person_id) for person_id in person_ids]
        for part in _parts(person_ids):
            found += [Drop("template", row.template_id) for row in tx.all(
                sa.select(templates.c.template_id).where(templates.c.person_id.in_(part)))]
            found += [Drop("credential", row.credential_id) for row in tx.all(
                sa.select(credentials.c.credential_id).where(credentials.c.person_id.in_(part)))]
        return found

    def _end_faces(self, tx: Tx, person_id: str, gone: Sequence[str]) -> int:
        """Without its consent a person's record says so, and these templates go."""
        kept = self._kept(tx, person_id)
        self._drop_templates(tx, person_id, gone)
        person = replace(kept.person, consent=self._consents.current(person_id, tx))
        if person != kept.person:
            self._replace(tx, Kept(person, kept.external_id))
            self._append(tx, person.groups, [_put_person(person)])
        return len(gone)

    def _drop_templates(self, tx: Tx, person_id: str, gone: Sequence[str]) -> None:
        groups = self._kept(tx, person_id).person.groups
        for part in _parts(gone):
            tx.run(sa.delete(templates).where(templates.c.template_id.in_(part)))
        if gone:
            self._append(tx, groups, [Drop("template", one) for one in gone])
            _note_erasure(tx)

    def _templates_of(self, tx: Tx, person_id: str) -> list[str]:
        return self._ids(tx, templates.c.template_id, [person_id]).get(person_id, [])

    def _credentials_of(self, tx: Tx, person_id: str) -> list[str]:
        return self._ids(tx, credentials.c.credential_id, [person_id]).get(person_id, [])

    def _ids(self, tx: Tx, column: sa.Column[str], person_ids: Sequence[str]) -> dict[str, list[str]]:
        owner = column.table.c.person_id
        found: dict[str, list[str]] = {}
        for part in _parts(person_ids):
            for row in tx.all(sa.select(owner.label("owner"), column.label("one")).where(owner.in_(part))
                              .order_by(column)):
                found.setdefault(row.owner, []).append(row.one)
        return found

    def _finder(self, external_id: str | None) -> bytes | None:
        return self._vault.finder("external", external_id) if external_id else None

    def _holder(self, tx: Tx, finder: bytes) -> str | None:
        found = tx.value(sa.select(persons.c.person_id).where(persons.c.external == finder))
        return str(found) if found is not None else None


def _put_person(person: Person) -> Put:
    return Put("person", person.person_id, body.encode(person), person.person_id)


def _put_template(person_id: str, template_id: str, plain: bytes) -> Put:
    return Put("template", template_id, plain, person_id)


def _next_generation(tx: Tx) -> int:
    """Counted, and not found from the templates that are there: one that was removed must not lend its number."""
    found = int(tx.value(sa.select(meta.c.value).where(meta.c.name == FACES)) or 0) + 1
    insert_or_update(tx, meta, [{"name": FACES, "value": str(found)}])
    return found


def _note_erasure(tx: Tx) -> None:
    # A value of its own, so that an erasure that was under way does not take this note for its own.
    insert_or_update(tx, meta, [{"name": ERASURE_DUE, "value": secrets.token_hex(4)}])


def _some(group_ids: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(set(group_ids)) <= MOST_GROUPS:
        raise FieldRefused("groups", f"name 1 to {MOST_GROUPS} groups")
    return group_ids


def _span(valid_from: datetime | None, valid_until: datetime | None) -> tuple[datetime | None, datetime | None]:
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise FieldRefused("valid_until", "lies before valid_from")
    return valid_from, valid_until


def _external(external_id: str | None) -> str | None:
    shown = (external_id or "").strip()
    if len(shown) > LONGEST_EXTERNAL or (shown and not shown.isprintable()):
        raise FieldRefused("external_id", f"at most {LONGEST_EXTERNAL} printable characters")
    return shown or None


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start:start + 500] for start in range(0, len(ids), 500))

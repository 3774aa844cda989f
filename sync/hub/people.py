"""Persons as they come, change and go, and what of that every terminal of their groups is told.

The one place that writes persons, templates and credentials, together with the ledger and in one transaction; so
whatever way somebody came in or went, the streams say so. A person's record is the same in the stream of every group
that they belong to; leaving a group is a drop in that group's stream. Removal (of a person, a template, a credential)
ends the key that it was sealed under besides.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from device.clock import Clock
from device.enrolment import check_label
from device.errors import EnrolmentRefused
from device.store import body
from device.store.records import Consent, Credential, Method, Person, PersonClass, Template, sought
from sync.hub.consent import Consents
from sync.hub.directory import Directory, Kept
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.groups import Groups
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.passes import end_passes_of
from sync.hub.positions import position_drops
from sync.hub.schema import credentials, groups, memberships, meta, persons, photos, positions, shreds, templates
from sync.hub.storage import Storage, Tx, in_parts, insert_or_update
from sync.hub.times import checked, milliseconds
from sync.hub.vault import Vault, own_key
from sync.wire.streams import group_stream
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


class People(Directory):
    """Changes persons; any thread may use it."""

    def __init__(self, storage: Storage, vault: Vault, ledger: Ledger, groups: Groups, consents: Consents,
                 clock: Clock) -> None:
        super().__init__(storage, vault)
        self._ledger = ledger
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
        self._vault.make([person.person_id], tx)
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
        puts = [Put("template", one.template_id, template_body(one), own_key("template", one.template_id))
                for one in fresh]
        self._vault.make([put.owner for put in puts], tx)
        keys, generation = self._vault.keys_of(put.owner for put in puts), _next_generation(tx)
        tx.run(sa.insert(templates), [
            {"template_id": put.key, "person_id": person_id, "model_id": one.model_id,
             "consent_id": consent.consent_id, "generation": generation,
             "sealed": keys.seal(put.owner, put.body, "template", put.key)}
            for one, put in zip(fresh, puts, strict=True)])
        if pictures is not None:
            tx.run(sa.insert(photos), [
                {"template_id": put.key, "person_id": person_id,
                 "sealed": keys.seal(put.owner, data, "photo", put.key)}
                for put, data in zip(puts, pictures, strict=True)])
        person = replace(kept.person, consent=consent)
        self._replace(tx, Kept(person, kept.external_id))
        self._append(tx, person.groups, [_put_person(person), *puts])

    def add_credential(self, person_id: str, method: Method, secret: bytes, is_duress: bool = False,
                       valid_until: datetime | None = None) -> str:
        """Give a person a card's secret or a PIN's (`credentials` makes them). InTheWay where the card, or the PIN's
        number, is somebody's already; a number may have one PIN more, for duress."""
        if method is Method.FACE or not 1 <= len(secret) <= 500:
            raise FieldRefused("credential", "give a card, PIN or QR secret of 1 to 500 bytes")
        if valid_until is not None:
            checked("valid_until", valid_until)
        with self._storage.write() as tx:
            kept = self._kept(tx, person_id)
            if tx.value(sa.select(sa.func.count()).where(credentials.c.person_id == person_id)) >= MOST_CREDENTIALS:
                raise InTheWay(f"person {person_id} has {MOST_CREDENTIALS} credentials; remove some first")
            finder = self._credential_finder(method, secret, is_duress)
            twin = self._credential_finder(method, secret, not is_duress)
            held = {row.finder: row.person_id for row in tx.all(
                sa.select(credentials.c.finder, credentials.c.person_id).where(
                    credentials.c.finder.in_([finder, twin])))}
            if finder in held or held.get(twin, person_id) != person_id:
                raise InTheWay("credential: it is somebody's already")
            one = Credential(secrets.token_hex(16), person_id, method, secret, is_duress, valid_until)
            put = Put("credential", one.credential_id, body.encode(one), own_key("credential", one.credential_id))
            self._vault.make([put.owner], tx)
            tx.run(sa.insert(credentials).values(
                credential_id=put.key, person_id=person_id, method=method.value, finder=finder,
                sealed=self._vault.seal(put.owner, put.body, "credential", put.key)))
            self._append(tx, kept.person.groups, [put])
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
            self._move(tx, kept, set(self._groups.check(_some(tuple(group_ids)), tx)))

    def leave(self, person_id: str, group_id: str) -> None:
        """A person belongs to a group no longer, be it their last; nothing to do where they do not."""
        with self._storage.write() as tx:
            if self.has(person_id):
                kept = self._kept(tx, person_id)
                self._move(tx, kept, set(kept.person.groups) - {group_id})

    # --- going -----------------------------------------------------------------------------------------------

    def remove(self, person_ids: Iterable[str]) -> int:
        """Remove persons with all that is theirs, for good; how many there were. NotThere where one is not.

        Their keys are destroyed right after the commit; should that be cut short, `finish_removals` makes up for it.
        """
        gone = sorted(set(person_ids))
        with self._storage.write() as tx:
            of_group: dict[str, list[str]] = {}
            for part in in_parts(gone):
                known = {row.person_id for row in tx.all(
                    sa.select(persons.c.person_id).where(persons.c.person_id.in_(part)))}
                if missing := set(part) - known:
                    raise NotThere(f"there is no person {min(missing)[:60]!r}")
                for row in tx.all(sa.select(memberships).where(memberships.c.person_id.in_(part))):
                    of_group.setdefault(row.group_id, []).append(row.person_id)
            for group_id, members in of_group.items():
                self._append(tx, [group_id], self._drops(tx, members))
            self._leave_areas(tx, gone)
            self._end_keys(tx, map(_key_of, self._drops(tx, gone)))
            end_passes_of(tx, self._ledger, self._clock, gone)
            for part in in_parts(gone):
                tx.run(sa.delete(persons).where(persons.c.person_id.in_(part)))
        return len(gone)

    def finish_removals(self) -> None:
        """Destroy the keys of whatever was removed."""
        with self._storage.read() as tx:
            gone = [row.name for row in tx.all(sa.select(shreds))]
        if gone and self._vault.destroy(gone):
            with self._storage.write() as tx:
                for part in in_parts(gone):
                    tx.run(sa.delete(shreds).where(shreds.c.name.in_(part)))

    def forget(self, names: Iterable[str] = ()) -> None:
        """After the database was set back: remove whatever's key has been destroyed since, or is of these names."""
        with self._storage.write() as tx:
            self._end_keys(tx, doomed := set(names))
            alive = self._vault.known() - doomed
            gone = {row.person_id for row in tx.all(sa.select(persons.c.person_id))} - alive
            if gone:
                self.remove(gone)
            for kind, column in (("template", templates.c.template_id), ("credential", credentials.c.credential_id)):
                owned: dict[str, list[str]] = {}
                for row in tx.all(sa.select(column.label("name"), column.table.c.person_id)):
                    if own_key(kind, row.name) not in alive:
                        owned.setdefault(row.person_id, []).append(row.name)
                for person_id, dead in owned.items():
                    self._drop_owned(tx, person_id, kind, dead)

    def remove_faces(self, person_id: str, template_ids: Iterable[str] | None = None) -> int:
        """Remove some or all of a person's templates and their pictures; how many went."""
        with self._storage.write() as tx:
            self._kept(tx, person_id)
            wanted = None if template_ids is None else set(template_ids)
            gone = [one for one in self._templates_of(tx, person_id) if wanted is None or one in wanted]
            if wanted is not None and len(gone) != len(wanted):
                raise NotThere(f"person {person_id} has no such template")
            self._drop_owned(tx, person_id, "template", gone)
        return len(gone)

    def withdraw_consent(self, person_id: str, at: datetime | None = None) -> int:
        """The person has withdrawn, now or then: consents are marked so, the faces go; how many templates went."""
        at = at or self._clock.now()
        with self._storage.write() as tx:
            if self._consents.withdraw(person_id, at, tx):
                tx.ended("withdrawn", person_id, str(milliseconds(at)))
            return self._end_faces(tx, person_id, self._templates_of(tx, person_id))

    def end_lapsed_consents(self) -> int:
        """Remove the faces whose consent has run out; how many templates went."""
        with self._storage.write() as tx:
            owners: dict[str, list[str]] = {}
            for part in in_parts(self._consents.lapsed(tx)):
                for row in tx.all(sa.select(templates).where(templates.c.consent_id.in_(part))):
                    owners.setdefault(row.person_id, []).append(row.template_id)
            return sum(self._end_faces(tx, person_id, gone) for person_id, gone in owners.items())

    def remove_credential(self, person_id: str, credential_id: str) -> None:
        """NotThere where the person has none such."""
        with self._storage.write() as tx:
            if credential_id not in self._credentials_of(tx, self._kept(tx, person_id).person.person_id):
                raise NotThere(f"person {person_id} has no credential {credential_id[:60]!r}")
            self._drop_owned(tx, person_id, "credential", [credential_id])

    # --- inside ----------------------------------------------------------------------------------------------

    def _credential_finder(self, method: Method, secret: bytes, is_duress: bool) -> bytes:
        second = ("duress",) if method is Method.PIN and is_duress else ()
        return self._vault.finder("credential", method.value, sought(method, secret), *second)

    def _sealed(self, kept: Kept) -> bytes:
        person_id = kept.person.person_id
        return self._vault.seal(person_id, body.encode(kept), "person", person_id)

    def _replace(self, tx: Tx, kept: Kept) -> None:
        tx.run(sa.update(persons).where(persons.c.person_id == kept.person.person_id)
               .values(sealed=self._sealed(kept)))

    def _move(self, tx: Tx, kept: Kept, now: set[str]) -> None:
        before, person_id = set(kept.person.groups), kept.person.person_id
        if now == before:
            return
        person = replace(kept.person, groups=tuple(sorted(now)))
        self._replace(tx, Kept(person, kept.external_id))
        self._set_memberships(tx, person_id, person.groups)
        self._append(tx, before - now, self._drops(tx, [person_id]))
        self._leave_areas(tx, [person_id], self._sites_of(tx, before) - self._sites_of(tx, now))
        self._append(tx, before & now, [_put_person(person)])
        self._spread(tx, person, joined=now - before)
        for group_id in sorted(before - now):
            tx.ended("left", person_id, group_id)
        _note_erasure(tx)

    def _set_memberships(self, tx: Tx, person_id: str, group_ids: Sequence[str]) -> None:
        tx.run(sa.delete(memberships).where(memberships.c.person_id == person_id))
        if group_ids:
            tx.run(sa.insert(memberships), [{"person_id": person_id, "group_id": one} for one in group_ids])

    def _spread(self, tx: Tx, person: Person, joined: Iterable[str]) -> None:
        """Say all that is a person's to groups that have not heard of them."""
        faces = tx.all(sa.select(templates).where(templates.c.person_id == person.person_id))
        cards = tx.all(sa.select(credentials).where(credentials.c.person_id == person.person_id))
        found = [("template", row.template_id, row.sealed) for row in faces]
        found += [("credential", row.credential_id, row.sealed) for row in cards]
        keys = self._vault.keys_of(own_key(kind, name) for kind, name, _ in found)
        puts = [_put_person(person), *(
            Put(kind, name, keys.open(own_key(kind, name), sealed, kind, name), own_key(kind, name))
            for kind, name, sealed in found)]
        self._append(tx, joined, puts)

    def _append(self, tx: Tx, group_ids: Iterable[str], steps: Sequence[Put | Drop]) -> None:
        for group_id in sorted(group_ids):
            self._ledger.append(group_stream(group_id), steps, tx)

    def _drops(self, tx: Tx, person_ids: Sequence[str]) -> list[Drop]:
        """Drops of all that is these persons'."""
        found = [Drop("person", person_id) for person_id in person_ids]
        for part in in_parts(person_ids):
            found += [Drop("template", row.template_id) for row in tx.all(
                sa.select(templates.c.template_id).where(templates.c.person_id.in_(part)))]
            found += [Drop("credential", row.credential_id) for row in tx.all(
                sa.select(credentials.c.credential_id).where(credentials.c.person_id.in_(part)))]
        return found

    def _leave_areas(self, tx: Tx, person_ids: Sequence[str], site_ids: Set[str] | None = None) -> None:
        """Where these persons are is nobody's affair any longer: at some sites, or anywhere."""
        for stream, steps in position_drops(tx, person_ids, site_ids).items():
            self._ledger.append(stream, steps, tx)
        if site_ids is None:
            return  # the rows go with the persons
        for part in in_parts(person_ids):
            tx.run(sa.delete(positions).where(positions.c.person_id.in_(part),
                                              positions.c.site_id.in_(list(site_ids))))

    def _sites_of(self, tx: Tx, group_ids: Iterable[str]) -> set[str]:
        return {row.site_id for row in tx.all(
            sa.select(groups.c.site_id).where(groups.c.group_id.in_(list(group_ids))))}

    def _end_faces(self, tx: Tx, person_id: str, gone: Sequence[str]) -> int:
        """Without its consent a person's record says so, and these templates go."""
        kept = self._kept(tx, person_id)
        self._drop_owned(tx, person_id, "template", gone)
        person = replace(kept.person, consent=self._consents.current(person_id, tx))
        if person != kept.person:
            self._replace(tx, Kept(person, kept.external_id))
            self._append(tx, person.groups, [_put_person(person)])
        return len(gone)

    def _drop_owned(self, tx: Tx, person_id: str, kind: str, gone: Sequence[str]) -> None:
        """Some of a person's templates or credentials go, with the keys that they are sealed under."""
        groups = self._kept(tx, person_id).person.groups
        column = templates.c.template_id if kind == "template" else credentials.c.credential_id
        for part in in_parts(gone):
            tx.run(sa.delete(column.table).where(column.in_(part)))
        if gone:
            self._append(tx, groups, [Drop(kind, one) for one in gone])
            self._end_keys(tx, (own_key(kind, one) for one in gone))

    def _end_keys(self, tx: Tx, names: Iterable[str]) -> None:
        gone = sorted(set(names))
        if gone:
            insert_or_update(tx, shreds, [{"name": name} for name in gone])
            tx.ended("keys", *gone)
            tx.after_commit(self.finish_removals)
            _note_erasure(tx)


def _put_person(person: Person) -> Put:
    return Put("person", person.person_id, body.encode(person), person.person_id)


def _key_of(drop: Drop) -> str:
    return drop.key if drop.kind == "person" else own_key(drop.kind, drop.key)


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
    for field, at in (("valid_from", valid_from), ("valid_until", valid_until)):
        if at is not None:
            checked(field, at)
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise FieldRefused("valid_until", "lies before valid_from")
    return valid_from, valid_until


def _external(external_id: str | None) -> str | None:
    shown = (external_id or "").strip()
    if len(shown) > LONGEST_EXTERNAL or (shown and not shown.isprintable()):
        raise FieldRefused("external_id", f"at most {LONGEST_EXTERNAL} printable characters")
    return shown or None

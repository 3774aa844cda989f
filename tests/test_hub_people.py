"""Persons, groups, consent and enrolment at the hub, with real models."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from hub_samples import agreed, jpeg, li_wei, open_hub, photo_of, raw
from sync_samples import enrol

from device.clock import HandClock
from device.errors import EnrolmentRefused, PictureRefused, SealBroken
from device.face.template import dequantise
from device.store import body
from device.store.records import Method, Person
from sync.hub import consent, schema
from sync.hub.enrol import Photo
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.hub import open_eye
from sync.hub.storage import Storage
from sync.wire.streams import group_stream
from sync.wire.templates import from_body

OWNERS = [getattr(schema, name).c.person_id for name in ("persons", "templates", "photos", "consents", "credentials")]


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock, pack):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    yield made
    made.close()


@pytest.fixture(scope="module")
def eye(pack):
    return open_eye()


@pytest.fixture(autouse=True)
def one_eye(monkeypatch, request):
    """The networks are loaded once for all tests of this module."""
    if "hub" in request.fixturenames:
        eye = request.getfixturevalue("eye")
        request.getfixturevalue("hub").enroller._make_eye = lambda: eye


def replaced(consent, **changes):
    return dataclasses.replace(consent, **changes)


def living(hub, group="staff"):
    return {(c.kind, c.key): c.body for c in hub.ledger.living(group_stream(group)).changes}


def test_an_enrolled_person_is_in_the_stream_with_a_template_like_the_doors(hub, clock, portrait, eye):
    done = hub.enroller.enrol(li_wei(), [photo_of(portrait)], agreed(clock))
    records = living(hub)
    person = body.decode(Person, records["person", done.person_id])
    assert (person.label, person.groups) == ("CANARY Li Wei", ("staff",))
    assert person.consent.consent_id == done.consent_id
    template = from_body(records["template", done.template_ids[0]])
    assert template.person_id == done.person_id
    probe = eye.examiner.one(portrait, "again")
    assert template.model_id == probe.model_id
    assert float(dequantise(template.vector, template.scale) @ probe.vector) > 0.98
    assert b"CANARY-0017" not in b"".join(records.values())


def test_the_holder_of_a_face_is_named_and_nothing_is_stored(hub, clock, portrait):
    first = hub.enroller.enrol(li_wei(), [photo_of(portrait)], agreed(clock))
    before = hub.ledger.head("group/staff")
    with pytest.raises(EnrolmentRefused, match=rf"CANARY Li Wei \({first.person_id}\)"):
        hub.enroller.enrol(li_wei(label="Other", external_id=None), [photo_of(portrait[:, ::-1])], agreed(clock))
    assert hub.ledger.head("group/staff") == before
    assert hub.people.count() == 1
    hub.people.remove([first.person_id])
    hub.enroller.enrol(li_wei(), [photo_of(portrait)], agreed(clock))
    with pytest.raises(EnrolmentRefused, match="enrolled already"):
        hub.enroller.enrol(li_wei(external_id=None), [photo_of(portrait)], agreed(clock))


def test_a_face_enrolled_by_another_process_is_known(hub, clock, portrait, tmp_path, tmp_path_factory, eye):
    other = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    other.enroller._make_eye = lambda: eye
    done = other.enroller.enrol(li_wei(), [photo_of(portrait)], agreed(clock))
    with pytest.raises(EnrolmentRefused, match="enrolled already"):
        hub.enroller.enrol(li_wei(external_id=None), [photo_of(portrait)], agreed(clock))
    other.people.remove([done.person_id])
    other.close()
    hub.enroller.enrol(li_wei(external_id=None), [photo_of(portrait)], agreed(clock))


@pytest.mark.parametrize("spoil", [
    lambda c, clock: None,
    lambda c, clock: replaced(c, valid_until=clock.now()),
    lambda c, clock: replaced(c, given_at=clock.now() + timedelta(seconds=1)),
    lambda c, clock: replaced(c, kinds=()),
    lambda c, clock: replaced(c, purposes=()),
    lambda c, clock: replaced(c, text_version=" "),
    lambda c, clock: replaced(c, means=""),
    lambda c, clock: replaced(c, consent_id=""),
    lambda c, clock: replaced(c, means="telepathy"),
    lambda c, clock: replaced(c, consent_id="c" * 65),
])
def test_without_a_whole_consent_there_is_no_enrolment(hub, clock, portrait, spoil):
    bad = spoil(agreed(clock), clock)
    with pytest.raises((EnrolmentRefused, FieldRefused), match="consent"):
        hub.enroller.enrol(li_wei(), [photo_of(portrait)], bad)
    known = hub.people.add(li_wei())
    with pytest.raises((EnrolmentRefused, FieldRefused), match="consent"):
        hub.enroller.add_faces(known, [photo_of(portrait)], bad)
    assert not [kind for kind, _ in living(hub) if kind == "template"]


def test_a_consent_is_one_persons_and_says_one_thing(hub, clock, portrait):
    one = agreed(clock)
    done = hub.enroller.enrol(li_wei(), [photo_of(portrait)], one)
    other = hub.people.add(li_wei(label="Other", external_id=None))
    mirrored = photo_of(portrait)
    with pytest.raises(EnrolmentRefused):
        hub.enroller.add_faces(other, [mirrored], one)
    with pytest.raises(EnrolmentRefused, match="said something else"):
        hub.enroller.add_faces(done.person_id, [mirrored], replaced(one, means="screen"))
    assert len(hub.enroller.add_faces(done.person_id, [mirrored]).template_ids) == 1
    assert len(hub.people.get(done.person_id).template_ids) == 2


def test_withdrawal_ends_the_faces_and_the_consent_cannot_be_used_again(hub, clock, portrait):
    one = agreed(clock)
    done = hub.enroller.enrol(li_wei(), [photo_of(portrait)], one)
    assert hub.people.withdraw_consent(done.person_id) == 1
    records = living(hub)
    assert set(records) == {("person", done.person_id)}
    assert body.decode(Person, records["person", done.person_id]).consent is None
    for again in (one, None):
        with pytest.raises(EnrolmentRefused, match="consent"):
            hub.enroller.add_faces(done.person_id, [photo_of(portrait)], again)
    hub.enroller.add_faces(done.person_id, [photo_of(portrait)], agreed(clock))
    assert [state.withdrawn is None for state in hub.consents.states(done.person_id)].count(True) == 1


def test_who_was_told_that_the_picture_is_not_kept_has_it_not_kept(hub, clock, portrait):
    assert hub.enroller.agreement.kinds[0] == "face picture (used once, not kept)"
    assert "not kept" in hub.enroller.agreement.text["en"]
    done = hub.enroller.enrol(li_wei(), [photo_of(portrait)], agreed(clock))
    hub.enroller._keep_photos = True
    assert hub.enroller.agreement.kinds[0] == "face picture (kept, sealed)"
    assert "not kept" not in hub.enroller.agreement.text["en"]
    again = hub.enroller.add_faces(done.person_id, [photo_of(portrait)])
    assert hub.people.photo(again.template_ids[0]) is None
    kept = hub.enroller.add_faces(done.person_id, [photo_of(portrait)],
                                  agreed(clock, agreement=hub.enroller.agreement))
    assert hub.people.photo(kept.template_ids[0]) == jpeg(portrait)


def test_faces_go_when_their_consent_runs_out(hub, clock, portrait):
    done = hub.enroller.enrol(li_wei(), [photo_of(portrait)],
                              agreed(clock, valid_until=clock.now() + timedelta(days=1)))
    hub.tidy()
    assert ("template", done.template_ids[0]) in living(hub)
    clock.advance(86400)
    hub.tidy()
    assert set(living(hub)) == {("person", done.person_id)}


@pytest.mark.parametrize(("name", "data", "word"), [
    ("empty.jpg", b"", "empty"), ("text.jpg", b"not a picture", "not a JPEG"),
    ("cut.jpg", None, "damaged"), ("grey.png", np.full((64, 64, 3), 127, np.uint8), "no face")])
def test_a_bad_picture_is_refused_by_name(hub, clock, portrait, name, data, word):
    content = jpeg(portrait)[:3000] if data is None else data if isinstance(data, bytes) else jpeg(data)
    with pytest.raises((PictureRefused, EnrolmentRefused), match=rf"{name}.*{word}"):
        hub.enroller.enrol(li_wei(), [photo_of(portrait), Photo(name, content)], agreed(clock))
    assert hub.people.count() == 0
    assert hub.ledger.head("group/staff").seq == 0


def test_nothing_of_a_person_lies_in_the_clear(hub, clock, portrait, tmp_path):
    hub.enroller._keep_photos = True
    picture = photo_of(portrait)
    done = hub.enroller.enrol(li_wei(), [picture], agreed(clock, agreement=hub.enroller.agreement))
    hub.people.add_credential(done.person_id, Method.CARD, b"CANARYCARD04A1")
    identity = hub.keys.identity()
    group_key = hub.keys.of_stream("group/staff").key_bytes()
    vector = from_body(living(hub)["template", done.template_ids[0]]).vector
    assert hub.people.photo(done.template_ids[0]) == picture.data
    found = raw(tmp_path / "hub")
    hub.storage.erase()
    found += raw(tmp_path / "hub")
    secrets = (b"CANARY", b"CANARYCARD04A1".hex().encode(), vector[:24], vector.hex()[:48].encode(),
               picture.data[200:240], identity.signer.private_bytes(), identity.opener.private_bytes(), group_key,
               b"fleet-1")
    assert not [index for index, secret in enumerate(secrets) if secret in found]
    assert identity.signer.public in found


def test_the_removed_are_gone_from_every_file_and_from_old_copies(hub, clock, portrait, tmp_path):
    hub.enroller._keep_photos = True
    done = hub.enroller.enrol(li_wei(), [photo_of(portrait)], agreed(clock, agreement=consent.WITH_PICTURES))
    stays = hub.people.add(li_wei(label="Stays", external_id=None))
    hub.people.add_credential(done.person_id, Method.CARD, b"04A1")
    with hub.storage.read() as tx:
        sealed = [row.sealed for owner in OWNERS
                  for row in tx.all(sa.select(owner.table.c.sealed).where(owner == done.person_id))]
        sealed += [row.sealed for row in tx.all(sa.select(schema.changes).where(schema.changes.c.owner != stays))]
    assert len(sealed) == 8
    backup = tmp_path / "backup.db"
    hub.storage.copy_to(backup)
    assert hub.people.remove([done.person_id]) == 1
    hub.tidy()
    assert not [one for one in sealed if one[12:200] in raw(tmp_path / "hub")]
    assert set(living(hub)) == {("person", stays)}
    assert {kind for kind, *_ in hub.ledger.drops_after("group/staff", 0)} == {"person", "template", "credential"}
    old = Storage.open(backup)
    with old.read() as tx:
        row = tx.run(sa.select(schema.persons).where(schema.persons.c.person_id == done.person_id)).one()
    old.close()
    with pytest.raises(SealBroken):
        hub.vault.open_one(done.person_id, row.sealed, "person", done.person_id)
    with pytest.raises(NotThere):
        hub.people.get(done.person_id)
    with pytest.raises(NotThere):
        hub.people.remove([done.person_id])


def test_a_removal_cut_short_is_finished_at_the_next_start(hub, clock, tmp_path, tmp_path_factory):
    one = hub.people.add(li_wei())
    hub.people.finish_removals = lambda: None
    hub.people.remove([one])
    assert one in hub.vault.known()
    hub.close()
    again = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    assert one not in again.vault.known()
    again.close()


def test_who_leaves_a_group_is_dropped_there_and_stays_elsewhere(hub, clock, portrait):
    done = hub.enroller.enrol(li_wei(groups=("staff", "lab")), [photo_of(portrait)], agreed(clock))
    card = hub.people.add_credential(done.person_id, Method.CARD, b"04A1")
    assert living(hub, "staff") == living(hub, "lab")
    hub.people.set_groups(done.person_id, ["lab"])
    assert living(hub, "staff") == {}
    assert set(living(hub, "lab")) == {("person", done.person_id), ("template", done.template_ids[0]),
                                       ("credential", card)}
    assert body.decode(Person, living(hub, "lab")["person", done.person_id]).groups == ("lab",)
    seq = hub.ledger.head("group/lab").seq
    hub.people.set_groups(done.person_id, ["lab", "staff"])
    assert len(living(hub, "staff")) == 3
    assert hub.ledger.head("group/lab").seq == seq + 1


def test_ids_that_are_taken_or_unknown_are_refused(hub):
    one = hub.people.add(li_wei())
    assert hub.people.find("CANARY-0017") == one
    assert hub.people.find("nobody") is None
    with pytest.raises(InTheWay, match="external_id"):
        hub.people.add(li_wei(label="Other"))
    with pytest.raises(NotThere, match="group"):
        hub.people.add(li_wei(external_id=None, groups=("nosuch",)))
    with pytest.raises(FieldRefused, match="groups"):
        hub.people.add(li_wei(external_id=None, groups=()))
    with pytest.raises(FieldRefused, match="external_id"):
        hub.people.add(li_wei(external_id="a\x00b"))
    with pytest.raises(EnrolmentRefused, match="name"):
        hub.people.add(li_wei(external_id=None, label="\x07"))
    hub.people.add_credential(one, Method.CARD, b"04A1")
    two = hub.people.add(li_wei(external_id=None))
    with pytest.raises(InTheWay, match="credential"):
        hub.people.add_credential(two, Method.CARD, b"04A1")
    assert hub.people.count() == 2


def test_people_are_listed_page_by_page(hub):
    ids = sorted(hub.people.add(li_wei(external_id=None, label=f"P{n}", groups=("lab",) if n % 2 else ("staff",)))
                 for n in range(7))
    first = hub.people.page(4)
    rest = hub.people.page(4, first[-1].person.person_id)
    assert [known.person.person_id for known in first + rest] == ids
    assert len(hub.people.page(10, group_id="lab")) == 3


def test_groups_are_removed_only_when_empty(hub):
    one = hub.people.add(li_wei())
    with pytest.raises(InTheWay, match="1 persons"):
        hub.groups.remove("staff")
    hub.people.remove([one])
    hub.keys.of_stream("group/staff")
    hub.groups.remove("staff")
    assert [group.group_id for group in hub.groups.all()] == ["lab"]
    with pytest.raises(FieldRefused, match="group_id"):
        hub.groups.add("a/+#", "hq")
    with pytest.raises(NotThere):
        hub.groups.add("x", "nowhere")


def steps_of(hub, do):
    """How many hundreds of steps SQLite takes for it: a measure that no busy machine disturbs."""
    counted = [0]

    def count():
        counted[0] += 1

    with hub.storage.write() as tx:
        connection = tx.connection.connection.driver_connection
        connection.set_progress_handler(count, 100)
        do()
        connection.set_progress_handler(None, 0)
    return counted[0]


def test_removing_somebody_costs_the_same_however_many_stay(hub):
    enrol(hub, 40)
    few = steps_of(hub, lambda: hub.people.remove([f"{number:032x}" for number in range(1, 21)]))
    enrol(hub, 200, first=101)
    many = steps_of(hub, lambda: hub.people.remove([f"{number:032x}" for number in range(21, 41)]))
    assert 0 < many < 1.5 * few


@pytest.mark.slow
def test_ten_thousand_people_are_removed_in_one_piece_with_all_that_is_theirs(hub):
    gone, stays = enrol(hub, 10_000), enrol(hub, 3, first=20_001)
    began = time.monotonic()
    assert hub.people.remove(gone) == 10_000
    print(f"10 000 people removed, keys destroyed, in {time.monotonic() - began:.1f} s")
    assert {key for _, key in living(hub)} == stays
    assert len(hub.ledger.drops_after("group/staff", 0)) == 20_000
    assert not gone & hub.vault.known()
    with hub.storage.read() as tx:
        for owner in OWNERS:
            assert {row[0] for row in tx.all(sa.select(owner))} <= stays

"""What has ended stays ended: an old database under the hub brings nothing back, and an old copy opens nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from broker import request
from hub_samples import agreed, li_wei, open_hub
from store_samples import template
from sync_samples import enrol

from device.clock import HandClock
from device.errors import SealBroken, StoreError
from device.store.records import AccessRule, Method, Schedule
from sync.hub import schema
from sync.hub.ca import Authority
from sync.hub.claims import ClaimRefused, Claims, Contact
from sync.hub.commands.setup import run_restore
from sync.hub.endings import Endings
from sync.hub.errors import NotThere
from sync.hub.hub import Hub
from sync.hub.places import places
from sync.hub.storage import Storage
from sync.hub.vault import own_key
from sync.wire.claim import Claim
from sync.wire.sign import Signer
from sync.wire.streams import group_stream

GONE, WITHDRAWN, FACELESS, LEFT, CARDLESS, STAYS = (f"{number:032x}" for number in range(1, 7))


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    yield made
    made.close()


def claims_of(hub: Hub) -> Claims:
    contact = Contact("127.0.0.1", 8883, (b"s" * 32,), b"o" * 32)
    return Claims(hub.storage, Authority.new("hub", hub.clock), lambda: contact, hub.clock)


def claimed(hub: Hub, claims: Claims, terminal_id: str) -> None:
    claim = Claim(claims.issue(terminal_id), request()[0].decode(), Signer.new().public.hex(), "ab" * 32)
    claims.claim(msgspec.json.encode(claim))


def swapped(hub: Hub, backup: Path) -> None:
    """An old file in the place of the database, as a restored disk has it; the keys folder is as it is."""
    database = hub.where.database
    for path in database.parent.glob(database.name + "*"):
        path.unlink()
    shutil.copy(backup, database)


def restored(hub: Hub, backup: Path) -> None:
    """By the command."""
    assert run_restore(type("Arguments", (), {"state": hub.where.root, "file": backup})) == 0


@pytest.fixture(params=[swapped, restored])
def set_back(request, hub, tmp_path, clock) -> Callable[[], Hub]:
    """Sets the hub back to the backup; the hub as it is then."""

    def go() -> Hub:
        hub.close()
        request.param(hub, tmp_path / "backup.db")
        again.append(Hub.open(places(root=tmp_path / "hub"), clock, {}))
        return again[-1]

    again: list[Hub] = []
    yield go
    for one in again:
        one.close()


def living(hub: Hub, group: str = "staff") -> set[tuple[str, str]]:
    return {(change.kind, change.key) for change in hub.ledger.living(group_stream(group)).changes}


def people(hub: Hub, group: str = "staff") -> set[str]:
    return {key for kind, key in living(hub, group) if kind == "person"}


def test_whoever_and_whatever_ended_after_a_backup_is_not_brought_back_by_it(hub, clock, tmp_path, set_back):
    enrol(hub, 6, groups=("staff", "lab"))
    with hub.storage.write() as tx:
        hub.people.add_faces(FACELESS, [template(103, of=3)], agreed(clock), None, tx)
    faces = hub.people.get(FACELESS).template_ids
    card = hub.people.add_credential(CARDLESS, Method.CARD, b"04A1")
    hub.storage.copy_to(tmp_path / "backup.db")
    hub.people.remove([GONE])
    hub.people.withdraw_consent(WITHDRAWN)
    withdrawn = [state.withdrawn for state in hub.consents.states(WITHDRAWN)]
    hub.people.remove_faces(FACELESS, faces[:1])
    hub.people.set_groups(LEFT, ["lab"])
    hub.people.remove_credential(CARDLESS, card)
    clock.advance(3600)
    hub = set_back()
    assert people(hub) == {WITHDRAWN, FACELESS, CARDLESS, STAYS}
    assert people(hub, "lab") == {WITHDRAWN, FACELESS, CARDLESS, STAYS, LEFT}
    assert hub.people.get(LEFT).person.groups == ("lab",)
    with pytest.raises(NotThere):
        hub.people.get(GONE)
    assert hub.people.get(WITHDRAWN).template_ids == ()
    assert hub.people.get(WITHDRAWN).person.consent is None
    assert [state.withdrawn for state in hub.consents.states(WITHDRAWN)] == withdrawn
    assert hub.people.get(FACELESS).template_ids == faces[1:]
    assert hub.people.get(CARDLESS).credential_ids == ()
    for group in ("staff", "lab"):
        kept = living(hub, group)
        assert not {("template", faces[0]), ("template", WITHDRAWN), ("template", GONE), ("credential", card)} & kept
        assert {("template", faces[1]), ("template", STAYS)} <= kept


def test_terminals_rules_tokens_codes_and_group_keys_do_not_come_back_either(hub, tmp_path, set_back):
    claims = claims_of(hub)
    for terminal_id in ("revoked", "removed", "moved", "again"):
        hub.fleet.add(terminal_id, "hq", ["staff", "lab"])
        claimed(hub, claims, terminal_id)
    hub.fleet.put("moved", [Schedule("hours", ((),) * 7), AccessRule("r", "lab", schedule_id="hours")])
    token, kept = hub.tokens.make("admin")
    code = claims.issue("moved")
    old_key = hub.keys.of_stream("group/staff").key_id
    hub.storage.copy_to(tmp_path / "backup.db")
    claims.revoke("revoked")
    hub.fleet.remove("removed")
    hub.fleet.set_groups("moved", ["lab"])
    hub.fleet.drop("moved", "rule", "r")
    claimed(hub, claims, "again")
    hub.tokens.revoke(kept.token_id)
    hub = set_back()
    assert {one.terminal_id: one.state for one in hub.fleet.all()} == {
        "revoked": "revoked", "moved": "unheard", "again": "revoked"}
    assert hub.fleet.get("moved").groups == ("lab",)
    assert {one.rule_id for one in hub.fleet.records("moved") if isinstance(one, AccessRule)} == {"lab"}
    assert hub.tokens.check(token) is None
    assert hub.keys.of_stream("group/staff").key_id != old_key
    assert len(hub.identities.revoked()) == 3
    claim = Claim(code, request()[0].decode(), Signer.new().public.hex(), "ab" * 32)
    with pytest.raises(ClaimRefused):
        claims_of(hub).claim(msgspec.json.encode(claim))


def test_what_ended_and_was_begun_again_before_the_backup_is_there_after_it(hub, clock, tmp_path, set_back):
    enrol(hub, 2, groups=("staff", "lab"))
    hub.people.set_groups(GONE, ["lab"])
    hub.people.set_groups(GONE, ["lab", "staff"])
    hub.people.withdraw_consent(WITHDRAWN)
    with hub.storage.write() as tx:
        hub.people.add_faces(WITHDRAWN, [template(102, of=2)], agreed(clock), None, tx)
    hub.storage.copy_to(tmp_path / "backup.db")
    hub.groups.add("later", "hq")
    hub = set_back()
    assert people(hub) == {GONE, WITHDRAWN}
    assert hub.people.get(WITHDRAWN).template_ids == (f"{102:032x}",)


def test_the_list_does_not_grow_by_being_done_again(hub, tmp_path, set_back):
    enrol(hub, 3, groups=("staff", "lab"))
    hub.storage.copy_to(tmp_path / "backup.db")
    hub.people.set_groups(GONE, ["lab"])
    hub.people.remove([WITHDRAWN])
    before = hub.where.endings.read_bytes()
    hub = set_back()
    assert hub.where.endings.read_bytes() == before
    hub.people.remove([FACELESS])
    assert hub.where.endings.read_bytes().startswith(before)
    assert len(hub.where.endings.read_bytes()) > len(before)


@pytest.mark.parametrize("end", [
    lambda people: people.remove_faces(GONE), lambda people: people.withdraw_consent(GONE),
    lambda people: people.remove([GONE])])
def test_an_old_copy_opens_neither_the_template_nor_the_picture_of_a_face_that_is_gone(hub, clock, tmp_path, end):
    hub.people.add(li_wei(), person_id=GONE)
    stays = hub.people.add(li_wei(external_id=None))
    with hub.storage.write() as tx:
        hub.people.add_faces(GONE, [template(1)], agreed(clock), [b"picture"], tx)
        hub.people.add_faces(stays, [replace(template(2), person_id=stays)], agreed(clock), [b"another"], tx)
    hub.storage.copy_to(tmp_path / "old.db")
    end(hub.people)
    old = Storage.open(tmp_path / "old.db")
    with old.read() as tx:
        rows = {name: [(row.template_id, row.sealed) for row in tx.all(sa.select(getattr(schema, name)))]
                for name in ("templates", "photos")}
        bodies = tx.all(sa.select(schema.changes.c.key, schema.changes.c.owner).where(
            schema.changes.c.kind == "template"))
    old.close()
    opened = []
    for name, place in (("templates", "template"), ("photos", "photo")):
        for template_id, sealed in rows[name]:
            for key in {own_key("template", template_id), *(row.owner for row in bodies), GONE, ""}:
                try:
                    opened.append((name, template_id, hub.vault.open_one(key, sealed, place, template_id)))
                except SealBroken:
                    continue
    assert {(name, template_id) for name, template_id, _ in opened} == {
        ("templates", f"{2:032x}"), ("photos", f"{2:032x}")}


def test_the_key_of_a_face_is_in_no_byte_of_the_keys_folder_once_the_face_is_gone(hub):
    enrol(hub, 2)
    keys = hub.where.vault.parent

    def holds(text: str) -> bool:
        return any(text.encode() in path.read_bytes() for path in keys.iterdir() if path.name.startswith("keys.db"))

    with hub.vault._storage.read() as tx:
        salt = tx.value(sa.text("SELECT salt FROM keys WHERE name = :name").bindparams(name=WITHDRAWN))
    assert holds(WITHDRAWN)
    hub.people.remove([WITHDRAWN])
    assert not holds(WITHDRAWN)
    assert not any(bytes(salt) in path.read_bytes() for path in keys.iterdir())
    assert holds(GONE)


def test_a_removal_whose_commit_fails_leaves_everything_and_a_later_one_is_noted_in_its_place(hub):
    enrol(hub, 2)
    kept = hub.vault.known()

    def fail(_: list[str]) -> None:
        raise StoreError("the disk is full")

    def remove_in_vain() -> None:
        with hub.storage.write() as tx:
            hub.people.remove([GONE])
            tx.before_commit(fail).append("")

    with pytest.raises(StoreError, match="full"):
        remove_in_vain()
    assert GONE.encode() in hub.where.endings.read_bytes()
    assert people(hub) == {GONE, WITHDRAWN}
    assert hub.vault.known() == kept
    hub.people.remove([WITHDRAWN])
    lines = [json.loads(line) for line in hub.where.endings.read_bytes().splitlines()]
    assert lines == [["keys", WITHDRAWN, own_key("template", WITHDRAWN)]]


def test_what_was_noted_and_cut_off_before_its_commit_is_done_at_the_next_start(hub, tmp_path, clock):
    enrol(hub, 2)
    hub.close()
    noted = Endings(hub.where.endings)
    noted.append(0, [("keys", GONE, "no such key"), ("left", WITHDRAWN, "staff"), ("token", "nosuch"),
                     ("served", "nosuch", "staff"), ("removed", "nosuch"), ("revoked", "nosuch"),
                     ("dropped", "nosuch", "rule", "r"), ("withdrawn", "f" * 32, "0")])
    again = Hub.open(places(root=tmp_path / "hub"), clock, {})
    assert people(again) == set()
    assert again.people.get(WITHDRAWN).person.groups == ()
    assert GONE not in again.vault.known()
    assert not again.ledger.was_set_back
    again.close()


@pytest.mark.parametrize(("line", "word"), [
    (b"nonsense\n", "damaged"), (b"{}\n", "damaged"), (b"[1]\n", "damaged"), (b"[]\n", "damaged"),
    (b'["keys", ["x"]]\n', "damaged"), (b"[" * 100_000 + b"\n", "damaged"), (b'["later", "x"]\n', "later release"),
    (b'["left", "x"]\n', "later release"), (b'["withdrawn", "x", "y"]\n', "later release")])
def test_a_list_that_cannot_be_read_keeps_the_hub_shut(hub, tmp_path, clock, line, word):
    hub.close()
    hub.where.endings.write_bytes(line)
    with pytest.raises(StoreError, match=word) as refused:
        Hub.open(places(root=tmp_path / "hub"), clock, {})
    assert "\n" not in str(refused.value)
    hub.where.endings.write_bytes(b'["keys", "cut off by a ki')
    Hub.open(places(root=tmp_path / "hub"), clock, {}).close()


def test_keys_that_are_missing_are_asked_for_and_nobody_is_removed(hub, tmp_path, clock):
    enrol(hub, 2)
    hub.close()
    aside = hub.where.vault.rename(tmp_path / "aside")
    with pytest.raises(SealBroken, match="newest copy"):
        Hub.open(places(root=tmp_path / "hub"), clock, {})
    aside.rename(hub.where.vault)
    again = Hub.open(places(root=tmp_path / "hub"), clock, {})
    assert people(again) == {GONE, WITHDRAWN}
    again.close()


LEAVER = """
import sys
from pathlib import Path
from device.clock import SystemClock
from sync.hub.hub import Hub
from sync.hub.places import places
hub = Hub.open(places(root=Path(sys.argv[1])), SystemClock(), {})
print("open", flush=True)
for number in range(1, 41):
    person_id = f"{number:032x}"
    if number % 2:
        hub.people.set_groups(person_id, ["lab"])
    else:
        hub.people.remove_faces(person_id)
    print(person_id, flush=True)
"""


@pytest.mark.parametrize("count", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_kill_9_while_something_ends_brings_nothing_back_with_the_backup(tmp_path, tmp_path_factory, clock, count):
    hub = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    enrol(hub, 40, groups=("staff", "lab"))
    hub.storage.copy_to(tmp_path / "backup.db")
    hub.close()
    for number in range(count):
        swapped(hub, tmp_path / "backup.db")
        child = subprocess.Popen([sys.executable, "-c", LEAVER, str(tmp_path / "hub")], stdout=subprocess.PIPE,
                                 text=True)
        said = []
        for line in child.stdout:
            said.append(line.strip())
            if len(said) > 3 + 5 * number:
                break
        child.kill()
        said += [line.strip() for line in child.stdout if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        swapped(hub, tmp_path / "backup.db")
        again = Hub.open(places(root=tmp_path / "hub"), clock, {})
        ended = set(said) - {"open"}
        assert not ended & {key for kind, key in living(again) if kind == "person" and int(key, 16) % 2}
        assert not ended & {key for kind, key in living(again) if kind == "template" and not int(key, 16) % 2}
        again.close()

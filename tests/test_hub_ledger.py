"""The ledger: what follows a cursor, what lives, what is gone for good."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock
from device.errors import SealBroken, StoreError
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.places import Places, make_folders, places
from sync.hub.storage import Storage
from sync.hub.vault import Vault
from sync.wire.digest import DigestTree, Leaf, body_hash

A, B, C = (digit * 32 for digit in "abc")
MUCH = 1_000_000


@dataclass
class Books:
    """A ledger with everything below it, in a folder."""

    root: Path
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.where: Places = places(root=self.root)
        make_folders(self.where)
        self.open()

    def open(self) -> None:
        self.vault = Vault.open(self.where, {})
        self.storage = Storage.open(self.where.database)
        self.ledger = Ledger(self.storage, self.vault, self.clock, self.where.mark)

    def close(self) -> None:
        self.storage.close()
        self.vault.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def raw(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file())

    def keys_raw(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted((self.root / "keys").iterdir()))


@pytest.fixture
def books(tmp_path: Path):
    made = Books(tmp_path / "hub")
    made.vault.make([A, B, C])
    yield made
    made.close()


def person(key: str, text: str = "body") -> Put:
    return Put("person", key, text.encode(), owner=key)


def root_of(changes) -> bytes:
    return DigestTree.of(Leaf(c.kind, c.key, c.seq, body_hash(c.body)) for c in changes).root()


def test_what_follows_a_cursor_is_what_changed_after_it(books):
    assert books.ledger.head("group/a").seq == 0
    assert books.ledger.append("group/a", [person(A), person(B)]) == 2
    assert books.ledger.append("group/a", [Drop("person", A), person(C)]) == 4
    delta = books.ledger.since("group/a", 2, MUCH)
    assert [(c.seq, c.op, c.key, c.body) for c in delta.changes] == [(3, "drop", A, b""), (4, "put", C, b"body")]
    assert delta.head == books.ledger.head("group/a")
    assert root_of(books.ledger.living("group/a").changes) == delta.head.digest
    assert books.ledger.since("group/a", 4, MUCH).changes == ()
    assert books.ledger.head("group/b").digest == DigestTree().root()


def test_a_snapshot_is_due_where_a_delta_cannot_be_given(books):
    books.ledger.append("group/a", [person(A, "x" * 5000), person(B)])
    epoch = books.ledger.epoch
    assert books.ledger.since("group/a", 0, MUCH, epoch) is not None
    assert books.ledger.since("group/a", 0, 4000) is None
    assert books.ledger.since("group/a", 3, MUCH) is None
    assert books.ledger.since("group/a", 0, MUCH, "another") is None


def test_old_drops_are_forgotten_and_who_stands_below_them_needs_a_snapshot(books):
    books.ledger.append("group/a", [person(A), person(B)])
    books.ledger.append("group/a", [Drop("person", A)])
    books.clock.advance(100)
    before = books.ledger.head("group/a")
    assert books.ledger.forget_drops("group/a", books.clock.now() - timedelta(seconds=200)) == 0
    assert books.ledger.forget_drops("group/a", books.clock.now()) == 1
    assert books.ledger.since("group/a", 2, MUCH) is None
    assert books.ledger.since("group/a", 3, MUCH).changes == ()
    assert books.ledger.head("group/a") == before


def test_dropping_what_does_not_live_changes_nothing(books):
    books.ledger.append("group/a", [person(A)])
    assert books.ledger.append("group/a", [Drop("person", B)]) == 1
    books.ledger.append("group/a", [Drop("person", A)])
    assert books.ledger.append("group/a", [Drop("person", A)]) == 2


def test_a_change_that_is_undone_leaves_no_trace_and_tells_nobody(books):
    told = []
    books.ledger.listen(told.append)
    books.ledger.append("group/a", [person(A)])
    before = books.ledger.head("group/a")
    with contextlib.suppress(RuntimeError), books.storage.write() as tx:
        books.ledger.append("group/a", [person(B)], tx)
        assert books.ledger.head("group/a").seq == 2
        assert books.ledger.head("group/a").digest != before.digest
        raise RuntimeError
    assert books.ledger.head("group/a") == before
    assert told == ["group/a"]


def test_listeners_are_told_once_per_commit_and_a_bad_one_harms_nobody(books, caplog):
    told = []

    def bad(stream):
        told.append(stream)
        raise ValueError("a listener fails")

    books.ledger.listen(bad)
    with books.storage.write() as tx:
        books.ledger.append("group/a", [person(A)], tx)
        books.ledger.append("group/a", [person(B)], tx)
        books.ledger.append("terminal/t", [Put("rule", "r", b"{}")], tx)
        assert told == []
    assert told == ["group/a", "terminal/t"]
    assert "the commit stands" in caplog.text


def test_another_process_is_noticed_by_polling(books):
    books.ledger.append("group/a", [person(A)])
    assert books.ledger.poll() == ["group/a"]
    assert books.ledger.poll() == []
    beside = Storage.open(books.where.database)
    other = Ledger(beside, books.vault, books.clock, books.where.mark)
    assert other.epoch == books.ledger.epoch
    other.append("group/a", [person(B)])
    assert books.ledger.poll() == ["group/a"]
    assert books.ledger.head("group/a") == other.head("group/a")
    assert books.ledger.head("group/a").seq == 2
    beside.close()


def test_bodies_replaced_and_dropped_are_in_no_file(books):
    for number in range(40):
        books.ledger.append("group/a", [person(A, f"version {number}"), person(B, f"version {number}")])
    with books.storage.read() as tx:
        sealed = [bytes(row[0]) for row in tx.connection.exec_driver_sql("SELECT sealed FROM changes")]
    books.storage.erase()
    assert all(one in books.raw() for one in sealed)
    books.ledger.append("group/a", [Drop("person", A), person(B, "last")])
    assert books.storage.erase()
    assert not any(one[12:] in books.raw() for one in sealed)


def test_with_the_key_every_copy_is_dead(books):
    books.ledger.append("group/a", [person(A, "kept in a backup")])
    old = books.root / "data" / "old.db"
    books.storage.copy_to(old)
    with pytest.raises(StoreError):
        books.storage.copy_to(old)
    assert A.encode() in books.keys_raw()
    books.vault.destroy([A])
    assert A.encode() not in books.keys_raw()
    assert B.encode() in books.keys_raw()
    backup = Storage.open(old)
    with pytest.raises(SealBroken):
        Ledger(backup, books.vault, books.clock).living("group/a")
    backup.close()


def test_nothing_lies_in_the_clear(books):
    books.ledger.append("group/a", [person(A, "CANARY-NAME")])
    books.ledger.append("terminal/t", [Put("rule", "r", b"CANARY-RULE")])
    assert b"CANARY" not in books.raw()
    assert body_hash(b"CANARY-NAME") not in books.raw()


def test_the_epoch_lasts_over_restarts_and_ends_when_the_database_is_an_old_one(books):
    books.ledger.append("group/a", [person(A)])
    first = books.ledger.epoch
    books.reopen()
    assert books.ledger.epoch == first
    assert not books.ledger.was_set_back
    old = books.root / "copy.db"
    books.storage.copy_to(old)
    books.ledger.append("group/a", [person(B)])
    books.close()
    for beside in books.where.database.parent.glob("hub.db*"):
        beside.unlink()
    old.rename(books.where.database)
    books.open()
    assert books.ledger.was_set_back
    assert books.ledger.epoch != first
    assert [c.key for c in books.ledger.living("group/a").changes] == [A]
    second = books.ledger.epoch
    books.reopen()
    assert books.ledger.epoch == second


def test_a_mark_that_is_lost_or_damaged_costs_an_epoch(books):
    first = books.ledger.epoch
    books.ledger.append("group/a", [person(A)])
    books.where.mark.write_bytes(b"\xff\x00")
    books.reopen()
    assert books.ledger.epoch != first


def test_a_body_moved_to_another_row_does_not_open(books):
    books.ledger.append("group/a", [Put("rule", "a", b"one"), Put("rule", "b", b"two")])
    with books.storage.write() as tx:
        tx.connection.exec_driver_sql(
            "UPDATE changes SET sealed = (SELECT sealed FROM changes WHERE key = 'a') WHERE key = 'b'")
    with pytest.raises(SealBroken):
        books.ledger.living("group/a")


def test_ten_thousand_are_dropped_in_one_piece(books):
    people = [secrets.token_hex(16) for _ in range(10_000)]
    books.ledger.append("group/a", [Put("person", key, b"x") for key in people])
    books.ledger.head("group/a")
    assert books.ledger.append("group/a", [Drop("person", key) for key in people]) == 20_000
    assert books.ledger.head("group/a").digest == DigestTree().root()
    assert len(books.ledger.drops_after("group/a", 10_000)) == 10_000


STEP = st.one_of(
    st.builds(Put, st.sampled_from(["person", "template"]), st.sampled_from("abcdef"), st.binary(max_size=8)),
    st.builds(Drop, st.sampled_from(["person", "template"]), st.sampled_from("abcdef")))


@pytest.fixture(scope="module")
def many_books(tmp_path_factory):
    made = Books(tmp_path_factory.mktemp("hub"))
    yield made
    made.close()


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.tuples(st.booleans(), st.lists(STEP, max_size=5), st.booleans()), max_size=15))
def test_every_cursor_leads_to_the_living_set(many_books, batches):
    ledger = many_books.ledger
    names = {which: f"group/{secrets.token_hex(6)}" for which in (False, True)}
    models = {which: [{}] for which in names}
    for which, steps, is_read_between in batches:
        expected = {name: body for name, (_, body) in models[which][-1].items()}
        for step in sorted(steps, key=lambda step: isinstance(step, Put)):
            expected.pop((step.kind, step.key), None)
            if isinstance(step, Put):
                expected[step.kind, step.key] = step.body
        seq = ledger.append(names[which], steps)
        living = {(c.kind, c.key): (c.seq, c.body) for c in ledger.living(names[which]).changes}
        assert {name: body for name, (_, body) in living.items()} == expected
        models[which] += [living] * (seq + 1 - len(models[which]))
        if is_read_between:
            assert ledger.head(names[which]).digest == root_of(ledger.living(names[which]).changes)
    fresh = Ledger(many_books.storage, many_books.vault, many_books.clock, many_books.where.mark)
    for which, states in models.items():
        head = ledger.head(names[which])
        assert (head.seq, head.digest) == (len(states) - 1, root_of(ledger.living(names[which]).changes))
        assert fresh.head(names[which]) == head
        for seq, state in enumerate(states):
            here = dict(state)
            for change in ledger.since(names[which], seq, MUCH, head.epoch).changes:
                here.pop((change.kind, change.key), None)
                if change.op == "put":
                    here[change.kind, change.key] = (change.seq, change.body)
            assert here == states[-1]

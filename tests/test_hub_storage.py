"""The hub's database: its steps, its kills, its damage."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from hub_samples import open_hub

from device.clock import HandClock
from device.errors import SealBroken, StoreError
from sync.hub import schema
from sync.hub.hub import Hub
from sync.hub.ledger import Put
from sync.hub.places import make_folders, places
from sync.hub.storage import _MIGRATIONS, Storage
from sync.hub.vault import load_master

WRITER = """
import sys
from device.clock import SystemClock
from sync.hub.hub import Hub
from sync.hub.ledger import Put
from sync.hub.people import Newcomer
from sync.hub.places import places
from pathlib import Path
hub = Hub.open(places(root=Path(sys.argv[1])), SystemClock(), {})
while True:
    person_id = hub.people.add(Newcomer("Somebody", ("staff",)))
    print("+", person_id, hub.ledger.head("group/staff").seq, flush=True)
    if int(person_id[0], 16) % 2:
        hub.people.remove([person_id])
        print("-", person_id, hub.ledger.head("group/staff").seq, flush=True)
"""


@pytest.fixture
def storage(tmp_path):
    made = Storage.open(tmp_path / "hub.db")
    yield made
    made.close()


def test_the_steps_lead_to_the_tables_that_the_code_means(storage):
    with storage.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.connection), schema.metadata) == []
        found = sa.inspect(tx.connection)
        for table in schema.metadata.sorted_tables:
            assert {key["name"] for key in found.get_foreign_keys(table.name)} == {
                key.constraint.name for key in table.foreign_keys if key.constraint}


def left_behind(path: Path, revision: str, *rows: str) -> None:
    """A database as an earlier release left it, with these rows."""
    steps, engine = Config(), sa.create_engine(f"sqlite:///{path}")
    steps.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        steps.attributes["connection"] = connection
        command.upgrade(steps, revision)
        for row in rows:
            connection.exec_driver_sql(f"INSERT INTO {row}")
    engine.dispose()


def test_what_an_earlier_release_left_to_be_done_is_still_there_after_the_steps(tmp_path):
    left_behind(
        tmp_path / "hub.db", "0002", "sites (site_id, title) VALUES ('hq', '')", "shreds VALUES ('gone')",
        "terminals (terminal_id, site_id, title, created, model_ids, key_ids, health, is_online) "
        "VALUES ('t1', 'hq', '', 0, '[]', '[]', '{}', 0)",
        "desired (terminal_id, version, mode, config_version, sent) VALUES ('t1', 3, 'lockdown', 0, 3)")
    storage = Storage.open(tmp_path / "hub.db")
    with storage.read() as tx:
        assert [row.name for row in tx.all(sa.select(schema.shreds))] == ["gone"]
        assert [(row.version, row.epoch) for row in tx.all(sa.select(schema.desired))] == [(3, "")]
    storage.close()


def test_positions_and_keys_of_groups_are_taken_over_when_areas_get_streams_of_their_own(tmp_path):
    left_behind(
        tmp_path / "hub.db", "0006", "sites (site_id, title) VALUES ('hq', '')", "groups VALUES ('staff', 'hq', '')",
        "group_keys VALUES ('k1', 'staff', 5, NULL, x'01')", "streams VALUES (7, 'group/staff', 3, 0)",
        "changes VALUES (7, 'person', 'a', 1, 0, 5, 'a', x'0a', x'0b', NULL)",
        "changes VALUES (7, 'position', 'a', 2, 0, 5, 'a', x'0c', x'0d', NULL)",
        "changes VALUES (7, 'position', 'b', 3, 0, 5, '', NULL, NULL, x'0e')")
    storage = Storage.open(tmp_path / "hub.db")
    with storage.read() as tx:
        assert tx.value(sa.select(schema.streams.c.seq)) == 4
        found = {(row.kind, row.key): row for row in tx.all(sa.select(schema.changes))}
        gone = found[("position", "a")]
        assert (gone.seq, gone.owner, gone.leaf, gone.sealed) == (4, "", None, None)
        assert gone.erased == hashlib.sha256(b"\x0d").digest()
        assert found[("person", "a")].sealed == b"\x0b" and found[("position", "b")].seq == 3
        assert [(row.key_id, row.stream) for row in tx.all(sa.select(schema.stream_keys))] == [("k1", "group/staff")]
    storage.close()


def test_a_database_of_a_later_release_is_refused_and_left_as_it_is(tmp_path, storage):
    with storage.write() as tx:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(StoreError, match="later release"):
        Storage.open(tmp_path / "hub.db")
    with storage.read() as tx:
        assert tx.value(sa.text("SELECT version_num FROM alembic_version")) == "later"


@pytest.mark.parametrize("content", [b"no database at all" * 200, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_what_is_no_database_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "hub.db").write_bytes(content)
    with pytest.raises(StoreError) as refused:
        Storage.open(tmp_path / "hub.db")
    assert "\n" not in str(refused.value)
    assert (tmp_path / "hub.db").read_bytes() == content


def test_it_writes_as_safely_as_it_claims(storage):
    with storage.read() as tx:
        def pragma(name):
            return tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert (pragma("journal_mode"), pragma("synchronous"), pragma("secure_delete"), pragma("foreign_keys")) == (
            "wal", 2, 1, 1)


def test_a_reader_sees_one_state_while_another_thread_writes(storage):
    with storage.read() as tx:
        assert tx.value(sa.select(sa.func.count()).select_from(schema.sites)) == 0

        def write():
            with storage.write() as other:
                other.run(sa.insert(schema.sites).values(site_id="hq", title=""))

        thread = threading.Thread(target=write)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        assert tx.value(sa.select(sa.func.count()).select_from(schema.sites)) == 0
    with storage.read() as tx:
        assert tx.value(sa.select(sa.func.count()).select_from(schema.sites)) == 1


def test_two_writers_never_meet(tmp_path, storage):
    other = Storage.open(tmp_path / "hub.db")

    def count_up(which):
        for _ in range(25):
            with which.write() as tx:
                seen = int(tx.value(sa.select(schema.meta.c.value).where(schema.meta.c.name == "n")) or 0)
                time.sleep(0.0005)
                tx.run(sa.delete(schema.meta).where(schema.meta.c.name == "n"))
                tx.run(sa.insert(schema.meta).values(name="n", value=str(seen + 1)))

    threads = [threading.Thread(target=count_up, args=(which,)) for which in (storage, storage, other, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with storage.read() as tx:
        assert tx.value(sa.select(schema.meta.c.value).where(schema.meta.c.name == "n")) == "100"
    other.close()


def test_a_full_disk_is_said_and_nothing_is_half_done(tmp_path, tmp_path_factory):
    hub = open_hub(tmp_path / "hub", tmp_path_factory, HandClock())
    before = hub.ledger.head("group/staff")
    with hub.storage.read() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar()

    def fill():
        with hub.storage.write() as tx:
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")
            hub.ledger.append("group/staff", [Put("rule", str(number), bytes(5000)) for number in range(50)], tx)

    with pytest.raises(StoreError, match="full"):
        fill()
    assert hub.ledger.head("group/staff") == before
    hub.close()


def killed_once(root, seconds):
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True)
    first = child.stdout.readline()
    time.sleep(seconds)
    child.kill()
    lines = (first + child.stdout.read()).splitlines(keepends=True)
    child.wait()
    child.stdout.close()
    return [line.split() for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("count", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_whatever_was_acknowledged_survives_kill_9(tmp_path, tmp_path_factory, count):
    root = tmp_path / "hub"
    open_hub(root, tmp_path_factory).close()
    chance = random.Random(count)
    alive, gone, epoch = set(), set(), None
    for _ in range(count):
        for sign, person_id, seq in killed_once(root, chance.uniform(0, 0.15)):
            (alive.add if sign == "+" else alive.discard)(person_id)
            if sign == "-":
                gone.add(person_id)
            last = int(seq)
        hub = Hub.open(places(root=root), HandClock(), {})
        living = {one.key for one in hub.ledger.living("group/staff").changes}
        known = {one.person.person_id for one in hub.people.page(10_000)}
        assert living == known
        assert gone & hub.vault.known() == set()
        # The last line may have been cut off by the kill: at most one person more, or fewer, than was said.
        assert len(living ^ alive) <= 1
        alive = living
        assert hub.ledger.head("group/staff").seq >= last
        assert epoch in (None, hub.ledger.epoch)
        epoch = hub.ledger.epoch
        hub.close()


def test_the_master_key_is_asked_for_and_never_made_anew_over_a_database(tmp_path):
    where = places(root=tmp_path / "hub")
    make_folders(where)
    hub = Hub.open(where, HandClock(), {}, is_new=True)
    hub.close()
    kept = where.master.read_bytes()
    where.master.chmod(0o640)
    with pytest.raises(SealBroken, match="chmod 600"):
        load_master(where, {})
    where.master.unlink()
    with pytest.raises(SealBroken, match="missing"):
        Hub.open(where, HandClock(), {})
    elsewhere = tmp_path / "key"
    elsewhere.write_bytes(kept)
    elsewhere.chmod(0o600)
    assert load_master(where, {"FLEETHUB_KEY": str(elsewhere)}).derive("x") == load_master(
        where, {"FLEETHUB_KEY": str(elsewhere)}).derive("x")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "fleethub-key").write_bytes(kept[:31])
    with pytest.raises(SealBroken, match="32 bytes"):
        load_master(where, {"CREDENTIALS_DIRECTORY": str(credentials)})

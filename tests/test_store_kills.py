"""Death at any moment: kill -9, power cuts, migrations broken off. What was acknowledged is there, nothing is half.

DOOR_KILLS sets how many times a child is killed.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from patience import SLOWER
from store_samples import BOOT, KEY, MODEL, enrolled, person, release, template

from device.clock import HandClock
from device.store import schema
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.journal import Journal
from device.store.sqlite import open_to_write

KILLS = int(os.environ.get("DOOR_KILLS", "20"))
KILLS_OF_ONE = 100  # then another journal is begun: each time the whole chain is checked

APPENDER = """
    import sys
    from pathlib import Path
    from device.clock import HandClock
    from device.store.journal import Journal
    from device.store.records import NewEntry
    journal = Journal.open(Path(sys.argv[1]), HandClock(), "b" * 32)
    print("ready", flush=True)
    while True:
        print(journal.append(NewEntry("release", "granted_face", "a" * 32, (("score", 0.5),))).seq, flush=True)
"""

ENROLLER = """
    import sys
    from pathlib import Path
    from store_samples import KEY, person, template
    from device.clock import HandClock
    from device.store.cache_writer import CacheWriter
    writer = CacheWriter.open(Path(sys.argv[1]), KEY, HandClock())
    print("ready", flush=True)
    cursor = writer.cursor("all")
    seq = cursor[1] if cursor else 0
    while True:
        seq += 1
        with writer.together():
            for number in range(5):
                writer.put_person(person(seq * 5 + number))
                writer.put_template(template(seq * 5 + number))
            if seq > 3:
                for number in range(5):
                    writer.drop_person(person((seq - 3) * 5 + number).person_id)
            writer.set_cursor("all", "e", seq, b"")
        print(seq, flush=True)
"""


def started(script, path):
    here = Path(__file__).parent
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(path)], stdout=subprocess.PIPE,
                            text=True, env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"})


def killed(script, path, after_s):
    """Run a child, kill it some time after it is ready; the numbers that it had printed."""
    child = started(script, path)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(after_s * SLOWER)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        printed, _ = child.communicate()
    return [int(line) for line in printed.split("\n")[:-1]]


def test_no_acknowledged_entry_is_lost_by_a_kill(tmp_path, figure):
    chance, acknowledged, written = random.Random(1), 0, 0
    for number in range(KILLS):
        if number % KILLS_OF_ONE == 0:
            path, written, acknowledged = tmp_path / f"journal{number}.db", written + acknowledged, 0
        printed = killed(APPENDER, path, chance.uniform(0, 0.05))
        acknowledged = printed[-1] if printed else acknowledged
        journal = Journal.open(path, HandClock(), BOOT)
        assert journal.set_aside is None
        assert journal.verify() == journal.head
        assert journal.head >= acknowledged
        acknowledged = journal.head
        journal.close()
    written += acknowledged
    assert written > KILLS
    figure("F1", f"{KILLS} kills while {written} events were written: 0 lost, 0 doubled")


def test_a_killed_writer_leaves_whole_pages_only(tmp_path, figure):
    path, chance, acknowledged = tmp_path / "gallery.db", random.Random(2), 0
    kills = KILLS if KILLS >= 200 else max(KILLS // 4, 5)
    for _ in range(kills):
        printed = killed(ENROLLER, path, chance.uniform(0, 0.3))
        acknowledged = printed[-1] if printed else acknowledged
        writer = CacheWriter.open(path, KEY, HandClock())
        assert writer.set_aside is None
        found = writer.cursor("all")
        seq = found[1] if found else 0
        assert seq >= acknowledged
        expected = {person(block * 5 + number).person_id
                    for block in range(max(seq - 2, 1), seq + 1) for number in range(5)}
        assert {someone.person_id for someone in writer.people()} == expected
        columns = writer.columns(MODEL)
        assert set(columns.person_ids) == expected
        assert columns.rejected == ()
        assert not writer.is_erasure_due
        writer.close()
    assert acknowledged > 0
    figure("F2c", f"{kills} kills while pages were written into the gallery: 0 mixed")


def test_a_reader_never_sees_half_a_change_of_another_process(tmp_path):
    path = tmp_path / "gallery.db"
    enrolled(path, 0).close()
    child = started(ENROLLER, path)
    try:
        assert child.stdout.readline() == "ready\n"
        reader = CacheReader.open(path, KEY)
        held, generation, views = {}, 0, 0
        while views < 15:
            reader.data_version()
            if reader.generation == generation:
                continue
            changes = reader.changes_since(generation, MODEL)
            if not changes.is_complete:
                columns = reader.columns(MODEL)
                held = dict(zip(columns.template_ids, columns.person_ids, strict=True))
                generation = columns.generation
            else:
                for template_id in changes.drops:
                    held.pop(template_id, None)
                held.update(zip(changes.puts.template_ids, changes.puts.person_ids, strict=True))
                generation = changes.generation
            assert len(held) % 5 == 0
            assert len(held) <= 15
            views += 1
        reader.close()
    finally:
        child.kill()
        child.communicate()


class Cut(Exception):
    """Stands for the kill: raised out of the middle of a migration."""


class CutShort:
    """A connection that dies at its n-th statement, as a killed process does: nothing after it runs."""

    def __init__(self, connection, statements):
        self._connection, self._left = connection, statements

    def execute(self, *arguments):
        if self._left == 0:
            raise Cut
        self._left -= 1
        return self._connection.execute(*arguments)

    def rollback(self):
        raise Cut

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize(("migrations", "opener"), [
    (schema.gallery, lambda path: CacheWriter.open(path, KEY, HandClock())),
    (schema.journal, lambda path: Journal.open(path, HandClock(), BOOT)),
], ids=["gallery", "journal"])
def test_a_migration_killed_at_any_statement_is_completed_by_the_next_start(tmp_path, migrations, opener, figure):
    cuts = 0
    while True:
        path = tmp_path / f"{cuts}.db"
        db = open_to_write(path, 1000)
        whole, db.conn = db.conn, CutShort(db.conn, cuts)
        try:
            schema.migrate(db, migrations, lambda fresh: None)
            finished = True
        except Cut:
            finished = False
        whole.close()
        if finished:
            break
        again = opener(path)
        assert again.set_aside is None
        again.close()
        cuts += 1
    assert cuts > 15
    figure("F10" if migrations is schema.gallery else "F10b",
           f"{migrations.name}: killed at each of {cuts} statements, each time completed by the next start")


def test_the_release_before_opens_and_writes_a_newer_file(tmp_path):
    writer = enrolled(tmp_path / "gallery.db", 3)
    journal = Journal.open(tmp_path / "journal.db", HandClock(), BOOT)
    journal.append(release())
    for store, record in ((writer, "gallery"), (journal, "journal")):
        db = store._db
        with db.atomic():
            for table in ("people", "templates", "credentials", "records", "state", "drops", "cursors", "acked",
                          "meta") if record == "gallery" else ("entries", "chain"):
                db.execute(f"ALTER TABLE {table} ADD COLUMN later TEXT")
            db.execute("CREATE TABLE later (command_id TEXT PRIMARY KEY, body BLOB)")
            db["_sqlite_migrations"].insert({"migration_set": record, "name": "9999_later", "applied_at": ""})
    writer.close()
    journal.close()
    writer = CacheWriter.open(tmp_path / "gallery.db", KEY, HandClock())
    writer.put_person(person(7))
    writer.put_template(template(7))
    writer.drop_person(person(1).person_id)
    writer.set_acked("j", 3)
    writer.set_cursor("s", "e", 1, b"")
    assert len(writer.columns(MODEL)) == 3
    assert writer.set_aside is None
    writer.close()
    journal = Journal.open(tmp_path / "journal.db", HandClock(), BOOT)
    journal.append(release())
    journal.prune(1)
    assert journal.verify() == 1
    assert journal.set_aside is None
    journal.close()

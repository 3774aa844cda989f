"""The tables of both files, as additive migrations that their writers apply.

A migration only adds tables, columns that may be null, indexes and triggers, so that the previous release still
opens the file after a roll-back; code names its columns and ignores others. All migrations that are due run in one
transaction with the records that they ran: a kill at any statement leaves the file as it was.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

GALLERY_ID = 0x446F4761  # "DoGa"
JOURNAL_ID = 0x446F4A6F  # "DoJo"

gallery = Migrations("gallery")
journal = Migrations("journal")


def migrate(db: Database, migrations: Migrations, seed: Callable[[Database], None]) -> list[str]:
    """Bring a file up to date; `seed` fills a file that was just made. The names of the migrations that ran."""
    due = [migration.name for migration in migrations.pending(db)]
    if not due:
        return due
    is_new = not migrations.applied(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(db)
        if is_new:
            seed(db)
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise
    return due


def has_lost_track(db: Database, migrations: Migrations) -> bool:
    """Whether a file with tables does not say any more which migrations have run; nothing is written."""
    pending = {migration.name for migration in migrations.pending(db)}
    is_due = [migration.name in pending for migration in migrations._migrations]
    return is_due[0] or is_due != sorted(is_due)


def _run(db: Database, script: str) -> None:
    # executescript would commit the transaction that holds the migration together
    for statement in script.split(";;"):
        if statement.strip():
            db.execute(statement)


def _people(db: Database) -> None:
    """Bodies are sealed (`store.seal`); in the clear are only random ids, model ids and order.

    generation  of the transaction that wrote the row, rising by one with each
    drops_from  generation up to which drops are no longer listed
    drops       what was removed and when, for readers that fetch only what changed
    cursors     how far each stream of the hub has been applied, committed with the records themselves
    acked       how far the hub has stored each journal; entries up to there may be pruned
    """
    db.execute(f"PRAGMA application_id = {GALLERY_ID}")
    _run(db, """
        CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;;
        CREATE TABLE state (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            generation INTEGER NOT NULL, drops_from INTEGER NOT NULL,
            is_erasure_due INTEGER NOT NULL DEFAULT 0) STRICT;;
        CREATE TABLE people (
            person_id TEXT PRIMARY KEY, sealed BLOB NOT NULL, generation INTEGER NOT NULL) STRICT;;
        CREATE TABLE templates (
            template_id TEXT PRIMARY KEY, person_id TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
            model_id TEXT NOT NULL, sealed BLOB NOT NULL, generation INTEGER NOT NULL) STRICT;;
        CREATE INDEX templates_of_person ON templates (person_id);;
        CREATE INDEX templates_by_generation ON templates (generation);;
        CREATE TABLE credentials (
            credential_id TEXT PRIMARY KEY, person_id TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
            method TEXT NOT NULL, finder BLOB NOT NULL, sealed BLOB NOT NULL, generation INTEGER NOT NULL) STRICT;;
        CREATE INDEX credentials_of_person ON credentials (person_id);;
        CREATE INDEX credentials_by_finder ON credentials (finder);;
        CREATE TABLE records (
            kind TEXT NOT NULL, key TEXT NOT NULL, sealed BLOB NOT NULL, generation INTEGER NOT NULL,
            PRIMARY KEY (kind, key)) STRICT;;
        CREATE TABLE drops (
            kind TEXT NOT NULL, key TEXT NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY (kind, key)) STRICT;;
        CREATE INDEX drops_by_generation ON drops (generation);;
        CREATE TABLE cursors (
            stream TEXT PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;;
        CREATE TABLE acked (journal_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT""")


def _synced(db: Database) -> None:
    """What a hub told this terminal, and what door-syncd hands over to doord. Bodies are sealed as in `_people`.

    is_consented  of a person: the record names a consent; null where an earlier release wrote it
    synced        what each stream holds, as its digest sees it: version and leaf hash, by bucket
    stages        snapshots and repairs that arrive part by part; staged holds their records, without an index, since
                  they are only written, counted and taken over whole; a null `sealed` was dropped meanwhile
    drops_ahead   drops that were obeyed before what precedes them in their stream had arrived
    past_epochs   histories that a stream has left; none of them is entered again
    inbox         commands, as the hub signed them; desired: the newest desired state, as the hub signed it
    receipts      deletions, to be confirmed once doord's matcher has reached the generation
    signs         what else doord should know of the link, in words
    """
    _run(db, """
        ALTER TABLE people ADD COLUMN is_consented INTEGER;;
        CREATE TABLE synced (
            stream TEXT NOT NULL, bucket INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
            version INTEGER NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (stream, bucket, kind, key))
            STRICT, WITHOUT ROWID;;
        CREATE TABLE stages (
            stream TEXT PRIMARY KEY, epoch TEXT NOT NULL, form TEXT NOT NULL, to_seq INTEGER NOT NULL,
            digest BLOB NOT NULL, parts INTEGER NOT NULL) STRICT;;
        CREATE TABLE stage_parts (
            stream TEXT NOT NULL, part INTEGER NOT NULL, PRIMARY KEY (stream, part)) STRICT;;
        CREATE TABLE stage_buckets (
            stream TEXT NOT NULL, bucket INTEGER NOT NULL, PRIMARY KEY (stream, bucket)) STRICT;;
        CREATE TABLE staged (
            stream TEXT NOT NULL, bucket INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
            version INTEGER NOT NULL, leaf BLOB NOT NULL, person_id TEXT NOT NULL, model_id TEXT NOT NULL,
            method TEXT NOT NULL, finder BLOB, is_consented INTEGER NOT NULL, sealed BLOB) STRICT;;
        CREATE TABLE drops_ahead (
            stream TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL,
            PRIMARY KEY (stream, kind, key)) STRICT, WITHOUT ROWID;;
        CREATE TABLE past_epochs (
            stream TEXT NOT NULL, epoch TEXT NOT NULL, PRIMARY KEY (stream, epoch)) STRICT;;
        CREATE TABLE group_keys (
            number INTEGER PRIMARY KEY AUTOINCREMENT, key_id TEXT NOT NULL UNIQUE, group_id TEXT NOT NULL,
            sealed BLOB NOT NULL) STRICT;;
        CREATE TABLE inbox (
            number INTEGER PRIMARY KEY AUTOINCREMENT, command_id TEXT NOT NULL UNIQUE, data BLOB NOT NULL) STRICT;;
        CREATE TABLE desired (
            id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, data BLOB NOT NULL) STRICT;;
        CREATE TABLE receipts (
            number INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
            digest BLOB NOT NULL, generation INTEGER NOT NULL, dropped TEXT NOT NULL,
            is_sent INTEGER NOT NULL DEFAULT 0) STRICT;;
        CREATE TABLE signs (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT""")


def _slots(db: Database) -> None:
    """slots: the salts of `store.slots`, counted up with each change; erasures: slots that are to be renewed."""
    _run(db, """
        CREATE TABLE slots (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, salts BLOB NOT NULL)
            STRICT;;
        CREATE TABLE erasures (slot INTEGER PRIMARY KEY) STRICT""")


def _entries(db: Database) -> None:
    """Append-only, held to it by triggers: an entry continues the chain, is never changed, and goes only from the
    old end, after the anchor has taken over the hash of the newest entry that goes."""
    db.execute(f"PRAGMA application_id = {JOURNAL_ID}")
    _run(db, """
        CREATE TABLE entries (
            seq INTEGER PRIMARY KEY, at TEXT NOT NULL, mono REAL NOT NULL, boot_id TEXT NOT NULL,
            clock_quality TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, person_id TEXT,
            detail TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL) STRICT;;
        CREATE TABLE chain (
            id INTEGER PRIMARY KEY CHECK (id = 1), journal_id TEXT NOT NULL,
            anchor_seq INTEGER NOT NULL, anchor_hash TEXT NOT NULL,
            head_seq INTEGER NOT NULL, head_hash TEXT NOT NULL) STRICT;;
        CREATE TRIGGER entries_continue_the_chain BEFORE INSERT ON entries
            WHEN NOT EXISTS (SELECT 1 FROM chain WHERE head_seq = NEW.seq - 1 AND head_hash = NEW.prev_hash)
            BEGIN SELECT RAISE(ABORT, 'an entry must continue the chain'); END;;
        CREATE TRIGGER entries_move_the_head AFTER INSERT ON entries
            BEGIN UPDATE chain SET head_seq = NEW.seq, head_hash = NEW.hash; END;;
        CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
            BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;;
        CREATE TRIGGER entries_go_from_the_old_end BEFORE DELETE ON entries
            WHEN OLD.seq > (SELECT anchor_seq FROM chain)
            BEGIN SELECT RAISE(ABORT, 'an entry goes only by pruning'); END;;
        CREATE TRIGGER anchor_follows_the_chain BEFORE UPDATE OF anchor_seq, anchor_hash ON chain
            WHEN NOT EXISTS (SELECT 1 FROM entries WHERE seq = NEW.anchor_seq AND hash = NEW.anchor_hash)
            BEGIN SELECT RAISE(ABORT, 'the anchor must be an entry'); END;;
        CREATE TRIGGER head_is_an_entry BEFORE UPDATE OF head_seq, head_hash ON chain
            WHEN NOT EXISTS (SELECT 1 FROM entries WHERE seq = NEW.head_seq AND hash = NEW.head_hash)
            BEGIN SELECT RAISE(ABORT, 'the head must be an entry'); END;;
        CREATE TRIGGER journal_keeps_its_name BEFORE UPDATE OF id, journal_id ON chain
            BEGIN SELECT RAISE(ABORT, 'a journal keeps its id'); END;;
        CREATE TRIGGER chain_stays BEFORE DELETE ON chain
            BEGIN SELECT RAISE(ABORT, 'the chain stays'); END""")


def _used_passes(db: Database) -> None:
    """QR passes that have admitted somebody, until they would have expired (`until`: seconds since 1970)."""
    _run(db, "CREATE TABLE used_passes (pass_id TEXT PRIMARY KEY, until REAL NOT NULL) STRICT")


gallery(name="0001_people")(_people)
gallery(name="0002_synced")(_synced)
gallery(name="0003_slots")(_slots)
journal(name="0001_entries")(_entries)
journal(name="0002_used_passes")(_used_passes)

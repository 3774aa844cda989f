"""`doorctl journal`: what people and machines read, and the verdict on the chain."""

import argparse
import json
import sqlite3

import pytest
from store_samples import BOOT, release

from device.clock import HandClock
from device.commands import journal as command
from device.errors import JournalBroken, StoreError, UsageError
from device.store.journal import Journal
from device.store.places import make_folders, places
from device.store.records import NewEntry


@pytest.fixture
def where(tmp_path, monkeypatch):
    monkeypatch.setenv("DOOR_STATE", str(tmp_path))
    make_folders(places())
    return places()


@pytest.fixture
def filled(where):
    journal = Journal.open(where.journal_db, HandClock(), BOOT)
    journal.append_all([(release(number), None, None) for number in range(30)])
    journal.append(NewEntry("refusal", "unknown_face", None, (("text", "a\x1b[2Jb"), ("score", 0.123456))))
    journal.close()
    return where


def run(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["journal", *words])
    return options.run(options)


def test_the_newest_entries_are_lines_for_people(filled, capsys):
    assert run("--last", "2") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("2026-01-05 08:00:00Z  #30  release   ")
    assert "person 0000000000000000000000000000001d" in first
    assert second.startswith("2026-01-05 08:00:00Z  #31  refusal   ")
    assert second.endswith("text=a?[2Jb  score=0.1235")


def test_reasons_are_told_in_the_language_asked_for(filled, capsys):
    run("--last", "1")
    english = capsys.readouterr().out
    run("--last", "1", "--language", "zh")
    chinese = capsys.readouterr().out
    assert "unknown_face" not in english + chinese
    assert english != chinese


def test_machines_read_whole_entries(filled, capsys):
    assert run("--last", "3", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["seq"] for entry in entries] == [29, 30, 31]
    assert entries[2]["detail"] == {"text": "a\x1b[2Jb", "score": 0.123456}
    assert entries[1]["hash"] == entries[2]["prev_hash"]
    assert entries[0]["at"] == "2026-01-05T08:00:00.000000Z"


def test_a_sound_chain_is_said_to_be_whole(filled, capsys):
    assert run("verify") == 0
    assert capsys.readouterr().out == "the chain is whole: 31 entries verified\n"
    journal = Journal.open(filled.journal_db, HandClock(), BOOT)
    journal.prune(11)
    journal.close()
    assert run("verify", "--json") == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["is_whole"], verdict["verified"], verdict["pruned"]) == (True, 20, 11)


def test_a_broken_chain_is_one_line_and_exit_code_1(filled):
    other = sqlite3.connect(filled.journal_db)
    other.execute("DROP TRIGGER entries_never_change")
    other.execute("UPDATE entries SET reason = 'x' WHERE seq = 12")
    other.commit()
    other.close()
    with pytest.raises(JournalBroken, match="entry 12 has been altered") as caught:
        run("verify")
    assert caught.value.exit_code == 1


def test_a_broken_chain_is_a_verdict_in_json_too(filled, capsys):
    other = sqlite3.connect(filled.journal_db)
    other.execute("DROP TRIGGER entries_never_change")
    other.execute("UPDATE entries SET reason = 'x' WHERE seq = 12")
    other.commit()
    other.close()
    assert run("verify", "--json") == 1
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["is_whole"], verdict["fault"]) == (False, "journal entry 12 has been altered")


def test_a_journal_that_was_set_aside_can_still_be_read(filled, capsys):
    aside = filled.journal_db.rename(filled.journal_db.with_name("journal.db.aside-x"))
    assert run("verify", "--file", str(aside)) == 0
    with pytest.raises(StoreError, match="no such file"):
        run()


def test_an_empty_journal_says_so(where, capsys):
    Journal.open(where.journal_db, HandClock(), BOOT).close()
    assert run() == 0
    assert capsys.readouterr().out == "the journal is empty\n"
    assert run("verify") == 0


def test_more_entries_than_there_can_be_are_all_that_there_are(filled, capsys):
    assert run("--last", "99999999999999999999", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 31


def test_an_emptied_journal_is_not_said_to_be_another_applications(filled):
    filled.journal_db.write_bytes(b"")
    with pytest.raises(StoreError, match=r"journal\.db: the file is empty$"):
        run()
    filled.journal_db.unlink()
    with pytest.raises(StoreError, match="no such file; it was there before"):
        run()


def test_a_count_below_one_is_wrong_usage(filled):
    with pytest.raises(UsageError, match="1 or more"):
        run("--last", "0")

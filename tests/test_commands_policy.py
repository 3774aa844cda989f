"""`doorctl policy`, `explain`, `credential` and the journal's export, on a stand-alone terminal's own files."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from openpyxl import load_workbook

from device.cli import main
from device.clock import HandClock, SystemClock
from device.door.reasons import entry
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.journal import Journal
from device.store.places import Places, make_folders, places
from device.store.records import Method, NewEntry, Person
from device.store.seal import load_key

ANNA, BORIS = "a" * 32, "b" * 32
POLICY = """
[[rule]]
id = "staff"
group = "staff"
schedule = "office"
methods = ["face", "card+pin"]
[[schedule]]
id = "office"
weekdays = ["08:00-18:00"]
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("DOOR_LINK", raising=False)
    where = places()
    make_folders(where)
    writer = CacheWriter.open(where.gallery_db, load_key(where), SystemClock())
    writer.put_person(Person(ANNA, "Anna", ("staff",)))
    writer.put_person(Person(BORIS, "Boris", ("night",)))
    writer.close()
    return where


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- policy ----------------------------------------------------------------------------------------------


def test_a_policy_is_checked_put_into_force_and_shown_as_it_was_written(
        state: Places, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", str(policy)]) == 0
    assert "good" in capsys.readouterr().out
    assert main(["policy", "set", str(policy)]) == 0
    capsys.readouterr()
    assert main(["policy", "show"]) == 0
    shown = written(tmp_path / "shown.toml", capsys.readouterr().out)
    assert main(["policy", "set", shown]) == 0
    versions = capsys.readouterr().out.split()
    assert versions[1] == versions[-1]


def test_a_policy_with_faults_is_refused_whole_and_every_fault_is_named(
        state: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = written(tmp_path / "bad.toml", POLICY + """
[[rule]]
id = "b"
group = "staff"
schedule = "gone"
[[schedule]]
id = "night"
monday = ["22:00-06:00"]
[[mode]]
id = "m"
mode = "open"
schedule = "office"
""")
    assert main(["policy", "set", bad]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("22:00-06:00", "split a night", "mode m", "free"))
    assert main(["policy", "show"]) == 0
    assert "rule" not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "word"), [
    ("[[rule]]\nid = 'a'\ngroup = 'g'\nwhen = 1\n", "unknown key 'when'"),
    ("[[rule]]\nid = 'a'\n", "group is missing"),
    ("[[rules]]\nid = 'a'\n", "unknown table 'rules'"),
    ("rule = 3\n", "write each rule as"),
    ("[[rule]]\nid = 'a'\ngroup = 'g'\n[[rule]]\nid = 'a'\ngroup = 'g'\n", "twice"),
    ("[[rule]]\nid = 'a'\ngroup = 'g'\nmethods = ['fingerprint']\n", "fingerprint"),
    ("[[rule]]\nid = 'a'\ngroup = 'g'\npersons = 0\n", "persons"),
    ("[[holiday]]\nid = 'h'\nfirst = '2026-02-30'\nlast = '2026-03-01'\n", "2026-02-30"),
    ("[[holiday]]\nid = 'h'\nfirst = 2026-03-02\nlast = 2026-03-01\n", "ends before"),
    ("[[door]]\nid = 'd'\ninside = 'nowhere'\n", "area 'nowhere'"),
    ("[[door]]\nid = 'd'\n", "two different areas"),
    ("[[area]]\nid = 'a'\nlimit = 0\n", "limit"),
    ("[[schedule]]\nid = 's'\nmonday = ['8-9']\n", "8-9"),
    ("[[mode]]\nid = 'm'\nmode = 'lockdown'\nschedule = 'always'\nfirst_group = 'g'\n", "first person"),
    ("not toml", "policy.toml"),
    ("[[rule]]\nid = '../x'\ngroup = 'g'\n", "letters, digits"),
])
def test_bad_policy_files_give_one_clear_line(state: Places, tmp_path: Path, text: str, word: str,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", written(tmp_path / "policy.toml", text)]) == 2
    assert word in capsys.readouterr().err


def test_odd_policies_are_usable_and_warned_of(state: Places, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    odd = written(tmp_path / "odd.toml", POLICY + """
[[rule]]
id = "b"
group = "nobodys"
[[schedule]]
id = "twice"
monday = ["08:00-10:00", "09:00-11:00"]
[[schedule]]
id = "never"
""")
    assert main(["policy", "check", odd]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("nobodys", "overlap", "never active"))


def test_a_hubs_policy_is_not_set_here(state: Places, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOOR_LINK", written(tmp_path / "link.toml", ""))
    assert main(["policy", "set", str(policy)]) == 1
    assert "hub" in capsys.readouterr().err


def test_replay_says_who_would_have_been_treated_differently(
        state: Places, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime.now(timezone.utc).replace(hour=12, minute=0) - timedelta(days=7)
    at -= timedelta(days=at.weekday())  # a Monday
    journal = Journal.open(state.journal_db, HandClock(at), "b" * 32)
    journal.append(entry("face_granted", ANNA, methods="face"))  # stays
    journal.append(entry("outside_schedule", ANNA, methods="face"))  # let in now
    journal.append(entry("card_granted", ANNA, methods="card"))  # refused now: a PIN besides
    journal.append(entry("face_granted", BORIS, methods="face"))  # refused now
    journal.append(entry("passback", ANNA, methods="face"))  # not the rules' affair
    journal.append(entry("face_granted", "c" * 32, methods="face"))  # no longer enrolled
    journal.append(NewEntry("release", "face_granted", ANNA, (("methods", "smell"),)))
    journal.close()
    assert main(["policy", "replay", "--days", "30", str(policy), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["judged"], found["unknown_people"], found["let_in"], found["refused"]) == (4, 1, 1, 2)
    assert [(one["person_id"], one["let_in"], one["reason"]) for one in found["changes"]] == [
        (ANNA, True, "granted"), (ANNA, False, "more_needed"), (BORIS, False, "no_rule")]
    assert main(["policy", "replay", "--days", "1", str(policy)]) == 0
    assert "nothing would have been different" in capsys.readouterr().out
    assert main(["policy", "replay", "--days", "0", str(policy)]) == 2


# --- explain ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["Anna", "front", "2026-03-02T10:00"], 0, ["would pass", "rule staff"]),
    (["anna", "front", "2026-03-02T19:00"], 1, ["Not at this time", "outside_schedule"]),
    (["aaaa", "front", "2026-03-01T10:00"], 1, ["Sunday", "outside_schedule"]),
    (["Anna", "front", "2026-03-02T10:00", "--methods", "card"], 1, ["also needs pin"]),
    (["Anna", "front", "2026-03-02T10:00", "--methods", "card+pin"], 0, ["would pass"]),
    (["Anna", "front", "2026-03-02T23:00", "--exit"], 0, ["would pass"]),
    (["Boris", "front", "now"], 1, ["no rule of this door"]),
    (["Boris", "front", "2026-03-02T10:00", "--language", "zh"], 1, ["无此门权限"]),
])
def test_explain_names_the_rule_that_decides(state: Places, policy: Path, arguments: list[str], code: int,
                                             words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["policy", "set", str(policy)])
    capsys.readouterr()
    assert main(["explain", *arguments]) == code
    said = capsys.readouterr().out
    assert all(word in said for word in words), said


@pytest.mark.parametrize(("arguments", "code", "word"), [
    (["Nobody", "front", "now"], 1, "nobody is meant"),
    (["Anna", "front", "soon"], 2, "no moment"),
    (["Anna", "front", "now", "--methods", "nose"], 2, "face"),
])
def test_explain_says_what_it_cannot_understand(state: Places, arguments: list[str], code: int, word: str,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == code
    assert word in capsys.readouterr().err


# --- export ----------------------------------------------------------------------------------------------


@pytest.fixture
def journal(state: Places) -> None:
    clock = HandClock(datetime(2026, 3, 31, 23, 59, tzinfo=timezone.utc))
    journal = Journal.open(state.journal_db, clock, "b" * 32)
    journal.append(entry("face_granted", ANNA, methods="face", rule="staff", score=0.81, threshold=0.6))
    clock.advance(120)
    journal.append(NewEntry("refusal", "=HYPERLINK(\"http://x\")", BORIS, (("why", "+1\t=cmd|' /C calc'!A0"),)))
    journal.close()


def test_a_csv_export_opens_in_a_spreadsheet_and_holds_no_formula(
        journal: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "all.csv"
    assert main(["journal", "export", str(out), "--names"]) == 0
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    with out.open(encoding="utf-8-sig", newline="") as file:
        heading, first, second = list(csv.reader(file))
    row = dict(zip(heading, first, strict=True))
    assert (row["name"], row["methods"], row["rule"], row["score"], row["text"]) == (
        "Anna", "face", "staff", "0.81", "Welcome")
    assert row["time"] == "2026-03-31T23:59:00+00:00"
    assert not [cell for cell in second if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_an_xlsx_export_holds_texts_only(journal: None, tmp_path: Path) -> None:
    out = tmp_path / "april.xlsx"
    assert main(["journal", "export", str(out), "--since", "2026-04-01", "--language", "zh"]) == 0
    rows = list(load_workbook(out)["journal"].iter_rows())
    assert len(rows) == 2
    assert all(cell.data_type != "f" for cell in rows[1])
    assert rows[1][3].value == "'=HYPERLINK(\"http://x\")"


@pytest.mark.parametrize("arguments", [[], ["out.pdf"], ["out.csv", "--since", "yesterday"]])
def test_an_export_that_cannot_be_says_why(journal: None, tmp_path: Path, arguments: list[str],
                                           capsys: pytest.CaptureFixture[str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["journal", "export", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_export_into_a_place_that_is_none_leaves_nothing_behind(journal: None, tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "export", str(tmp_path / "nowhere" / "out.csv")]) == 1
    assert "No such file" in capsys.readouterr().err
    assert not list(tmp_path.glob("**/*.new"))


# --- credentials -----------------------------------------------------------------------------------------


def test_a_pin_is_given_found_by_its_number_and_taken_away(
        state: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("4711\n"))
    assert main(["credential", "pin", "Anna", "1001"]) == 0
    assert "4711" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("2580\n"))
    assert main(["credential", "pin", "Boris", "1001"]) == 1
    assert "Anna's already" in capsys.readouterr().err
    reader = CacheReader.open(state.gallery_db, load_key(state))
    found = reader.find_credentials(Method.PIN, b"1001")
    reader.close()
    assert [one.person_id for one in found] == [ANNA]
    assert b"4711" not in found[0].secret
    assert main(["credential", "list", "Anna", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert row["shown"] == "1001"
    assert main(["credential", "remove", row["credential_id"][:8]]) == 0
    assert main(["credential", "remove", row["credential_id"][:8]]) == 1


@pytest.mark.parametrize(("number", "pin"), [("1001", "1111"), ("1001", "12345"), ("1001", "47"), ("1001", "abcd"),
                                             ("x", "4711"), ("1" * 11, "4711"), ("1001", "9876")])
def test_a_pin_that_is_guessed_first_or_is_none_is_refused_without_quoting_it(
        state: Places, number: str, pin: str, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{pin}\n"))
    assert main(["credential", "pin", "Anna", number]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert pin not in said.out + said.err

"""fleethub from the command line, in processes of their own where it matters."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from hub_samples import jpeg

from device.clock import HandClock, SystemClock
from device.errors import UsageError
from sync.hub import cli
from sync.hub.commands.opened import span
from sync.hub.commands.run import _address
from sync.hub.commands.setup import running
from sync.hub.enrol import Eye
from sync.hub.errors import InTheWay
from sync.hub.hub import Hub, open_eye
from sync.hub.places import places


@pytest.fixture(scope="module")
def eye(pack) -> Eye:
    return open_eye()


@pytest.fixture
def fleethub(tmp_path, monkeypatch, capsys, eye):
    """Runs a command; (exit code, stdout, stderr)."""
    monkeypatch.setattr("sync.hub.hub.open_eye", lambda: eye)
    monkeypatch.setenv("FLEETHUB_STATE", str(tmp_path / "hub"))

    def run(*arguments):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def started(fleethub):
    code, out, _ = fleethub("init", "--site", "hq", "--group", "staff", "--json")
    assert code == 0
    return json.loads(out)


@pytest.fixture
def photo(tmp_path, portrait):
    path = tmp_path / "li.jpg"
    path.write_bytes(jpeg(portrait))
    return path


def test_a_new_hub_is_made_once_and_its_token_works(fleethub, started, tmp_path):
    code, out, err = fleethub("init")
    assert (code, out) == (1, "")
    assert "there is a hub already" in err
    hub = Hub.open(places(root=tmp_path / "hub"), SystemClock(), {})
    assert hub.tokens.check(started["token"]).scope == "admin"
    assert hub.where.master.stat().st_mode & 0o777 == 0o600
    assert hub.where.root.stat().st_mode & 0o777 == 0o700
    hub.close()


def test_without_a_hub_every_command_says_so_in_one_line(fleethub):
    for command in (["person", "list"], ["status"], ["events"], ["terminal", "add", "d"], ["backup", "x"]):
        code, out, err = fleethub(*command)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "fleethub init" in err


def test_one_person_from_the_command_line_and_gone_again(fleethub, started, photo):
    add = ["person", "add", "Li Wei", photo, "--group", "staff", "--id", "0017"]
    code, _, err = fleethub(*add)
    assert code == 1
    assert "consent" in err
    code, out, _ = fleethub(*add, "--consent", "paper", "--json")
    assert code == 0
    person_id = json.loads(out)["person_id"]
    assert fleethub("person", "add", "Two", photo, "--group", "staff", "--consent", "paper")[0] == 1
    assert fleethub("person", "add", "Two", "nosuch.jpg", "--group", "staff", "--consent", "paper")[0] == 2
    listed = json.loads(fleethub("person", "list", "--json")[1])
    assert [(one["person_id"], one["label"], one["external_id"]) for one in listed] == [(person_id, "Li Wei", "0017")]
    assert fleethub("group", "add", "lab")[0] == 0
    assert fleethub("person", "groups", person_id[:8], "lab")[0] == 0
    assert "Li Wei" in fleethub("person", "list", "--group", "lab")[1]
    assert "nobody is enrolled" in fleethub("person", "list", "--group", "staff")[1]
    assert fleethub("person", "list", "--group", "nosuch")[0] == 1
    assert fleethub("person", "remove", "0017", "nobody")[0] == 1
    assert fleethub("person", "withdraw", "0017")[0] == 0
    assert fleethub("person", "remove", "0017")[0] == 0
    assert "nobody is enrolled" in fleethub("person", "list")[1]


def test_an_import_with_its_report(fleethub, started, tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "Li Wei.jpg").write_bytes(photo.read_bytes())
    (folder / "Bad.jpg").write_bytes(b"x")
    report = tmp_path / "report.csv"
    agreed = ["--consent", "paper", "--consent-given", "2026-01-01"]
    assert fleethub("import", folder, "--group", "staff")[0] == 1
    assert fleethub("import", folder, "--group", "staff", "--consent", "paper")[0] == 2
    code, out, _ = fleethub("import", folder, "--group", "staff", *agreed, "--report", report)
    assert code == 1
    assert "1 pictures enrolled, 0 imported before, 1 refused" in out
    assert report.read_text("utf-8-sig").count("\n") == 3
    (folder / "Bad.jpg").unlink()
    code, out, _ = fleethub("import", folder, "--group", "staff", *agreed, "--json")
    assert (code, json.loads(out)["skipped"]) == (0, 1)
    (tmp_path / "list.csv").write_text("name\nx\n")
    assert fleethub("import", tmp_path / "list.csv")[0] == 2


def test_terminals_modes_and_codes(fleethub, started, tmp_path):
    code, out, _ = fleethub("terminal", "add", "door-1", "--group", "staff", "--json")
    assert code == 0
    assert len(json.loads(out)["code"]) == 23
    assert fleethub("terminal", "add", "door-1")[0] == 1
    assert fleethub("terminal", "add", "a b")[0] == 2
    assert fleethub("terminal", "code", "door-1", "--life", "2h")[0] == 0
    assert fleethub("terminal", "code", "nosuch")[0] == 1
    shown = ("--shown", "DOOR1:4F2A91C0:8K2M4-Q1TZ9-0RW3X-7HCVN")
    assert "provision --shown" in fleethub("terminal", "code", "door-1", *shown)[1]
    assert fleethub("terminal", "add", "door-2", *shown)[0] == 1  # that code has been told already
    assert fleethub("terminal", "add", "door-2", "--shown", "DOOR1:4F2A91C0:8K2M4")[0] == 2
    assert "door-2" not in fleethub("status")[1]
    assert "lockdown until" in fleethub("mode", "door-1", "lockdown", "--for", "2h")[1]
    assert fleethub("mode", "door-1", "free", "--for", "2x")[0] == 2
    assert fleethub("command", "door-1", "release")[0] == 1
    assert fleethub("command", "door-1", "open")[0] == 2
    assert "unclaimed" in fleethub("status")[1]
    assert json.loads(fleethub("status", "--json")[1])["terminals"][0]["groups"] == ["staff"]
    assert fleethub("events", "--json")[1].strip() == "[]"
    assert fleethub("terminal", "revoke", "door-1")[0] == 0
    code, out, _ = fleethub("broker-config", "mosquitto", tmp_path / "broker", "--name", "localhost")
    assert code == 0
    assert all(line.startswith(str(tmp_path / "broker")) for line in out.splitlines())
    assert fleethub("terminal", "remove", "door-1")[0] == 0


def test_a_terminals_configuration_is_set_shown_and_checked(fleethub, started, tmp_path):
    fleethub("terminal", "add", "door-1", "--group", "staff")
    code, _, err = fleethub("terminal", "config", "door-1")
    assert (code, err.count("\n")) == (1, 1)
    file = tmp_path / "door-1.toml"
    file.write_text("[door]\nrelease_s = 4\n")
    assert fleethub("terminal", "config", "door-1", file)[0] == 0
    assert fleethub("terminal", "config", "door-1")[1] == "# version 1\n[door]\nrelease_s = 4\n"
    shown = json.loads(fleethub("status", "--json")[1])["terminals"][0]
    assert (shown["config_wanted"], shown["config_applied"]) == (1, 0)
    for bad in (b"[door]\nrelese_s = 4\n", b"\xff\xfe", b"x" * 70_000):
        file.write_bytes(bad)
        code, _, err = fleethub("terminal", "config", "door-1", file)
        assert (code, err.count("\n")) == (2, 1)
    assert fleethub("terminal", "config", "door-1", tmp_path / "nosuch")[0] == 2
    assert fleethub("terminal", "config", "nosuch", file)[0] in (1, 2)
    assert fleethub("terminal", "config", "door-1")[1].startswith("# version 1\n")


def test_the_hubs_name_and_times_out_of_range_are_refused_in_one_line(fleethub, started):
    assert fleethub("terminal", "add", "door-1")[0] == 0
    for words in (("terminal", "add", "hub"), ("mode", "door-1", "lockdown", "--until", "9999-12-31T23:59:59-10:00"),
                  ("token", "add", "read", "--until", "0001-01-01T00:00:00+10:00"),
                  ("events", "--since", "9999-12-31T23:59:59-10:00")):
        code, out, err = fleethub(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
    assert json.loads(fleethub("token", "list", "--json")[1])[0]["title"] == "made by fleethub init"


def test_tidying_waits_for_a_clock_that_can_be_believed(fleethub, started, tmp_path, monkeypatch):
    assert fleethub("tidy") == (0, "tidied\n", "")
    later = HandClock(datetime.now(timezone.utc) + timedelta(days=4000))
    monkeypatch.setattr("sync.hub.commands.opened.SystemClock", lambda: later)
    code, out, _ = fleethub("tidy")
    assert code == 1
    assert "nothing was deleted by time" in out
    assert fleethub("status")[0] == 1
    assert fleethub("tidy", "--clock-is-right")[:2] == (0, "tidied\n")
    assert fleethub("status")[0] == 0


def test_a_backup_is_put_back_and_the_removed_stay_removed(fleethub, started, tmp_path, photo):
    agreed = ["--group", "staff", "--consent", "paper"]
    one = json.loads(fleethub("person", "add", "Goes", photo, *agreed, "--json")[1])["person_id"]
    epoch = json.loads(fleethub("status", "--json")[1])["epoch"]
    backup = tmp_path / "backup.db"
    assert fleethub("backup", backup)[0] == 0
    assert fleethub("backup", backup)[0] == 1
    assert fleethub("person", "remove", one)[0] == 0
    assert fleethub("group", "add", "later")[0] == 0
    for bad in (tmp_path / "nosuch", photo):
        code, _, err = fleethub("restore", bad)
        assert (code, err.count("\n")) == (1, 1)
    with running(places(root=tmp_path / "hub")):
        code, _, err = fleethub("restore", backup)
        assert code == 1
        assert "stop it first" in err
    code, out, _ = fleethub("restore", backup)
    assert code == 0
    assert "0 persons" in out
    now = json.loads(fleethub("status", "--json")[1])
    assert now["epoch"] != epoch
    assert "later" not in fleethub("group", "list")[1]
    assert "nobody" in fleethub("person", "list")[1]


def test_pictures_are_kept_only_where_that_was_asked_for(fleethub, tmp_path, photo):
    assert fleethub("init", "--group", "staff", "--keep-photos")[0] == 0
    added = fleethub("person", "add", "Li", photo, "--group", "staff", "--consent", "paper", "--json")[1]
    hub = Hub.open(places(root=tmp_path / "hub"), SystemClock(), {})
    assert hub.people.photo(json.loads(added)["templates"][0]) == photo.read_bytes()
    assert hub.people.get(json.loads(added)["person_id"]).person.consent.kinds[0] == "face picture (kept, sealed)"
    hub.close()


def test_only_one_process_runs_on_a_state(started, tmp_path):
    where = places(root=tmp_path / "hub")
    with running(where), pytest.raises(InTheWay), running(where):
        pass


def test_addresses_and_spans_are_read_strictly():
    assert _address("a", 1) == ("a", 1)
    assert _address("a:2", 1) == ("a", 2)
    assert _address("[::1]:2", 1) == ("::1", 2)
    assert _address("[::1]", 1) == ("::1", 1)
    assert span("2h") == timedelta(hours=2)
    for bad in ("::1:2", "a:b", "a:70000"):
        with pytest.raises(UsageError):
            _address(bad, 1)
    for bad in ("", "h", "2", "-2h", "2.5h", "٢h", "99999999d"):
        with pytest.raises(UsageError):
            span(bad)


def test_every_command_has_an_example_that_parses(fleethub, capsys):
    parser = cli.build_parser()
    pending, seen = [parser], 0
    while pending:
        one = pending.pop()
        assert one.epilog, one.prog
        assert one.epilog.startswith("example: fleethub"), one.prog
        seen += 1
        for action in one._actions:
            pending += set(getattr(action, "choices", None).values()) if hasattr(action, "_name_parser_map") else []
    assert seen > 25


def test_the_program_itself_starts_and_reads_its_state_option(tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "sync.hub.cli", "--state", str(tmp_path / "h"), *arguments],
                              capture_output=True, text=True, timeout=60, check=False)

    made = run("init", "--json")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "h" / "data" / "hub.db").exists()


def test_tokens_and_the_description_of_the_api(fleethub, started, tmp_path):
    assert fleethub("openapi", tmp_path / "openapi.json")[0] == 0
    assert "/api/v1/enrolments" in json.loads((tmp_path / "openapi.json").read_text())["paths"]
    later = (datetime.now(timezone.utc) + timedelta(days=9)).isoformat()
    made = json.loads(fleethub("token", "add", "read", "--until", later, "--json")[1])
    assert made["token"].startswith("fh_")
    assert fleethub("token", "add", "read", "--until", "2020-01-01")[0] == 2
    assert fleethub("token", "revoke", made["token_id"])[0] == 0
    assert "revoked" in fleethub("token", "list")[1]
    assert made["token"] not in fleethub("token", "list")[1]

"""What the terminal says of itself: metrics, logs, a doctor, a bundle for support; and nothing about anybody."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import tarfile
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from device.cli import main
from device.clock import SystemClock, boot_id
from device.door.decision import Claim, Decision, Now
from device.door.reasons import REASONS, Severity, entry
from device.findings import Verdict
from device.observe.doctor import REMEDIES, examine
from device.observe.logs import JsonFormatter, set_up
from device.observe.metrics import Metrics
from device.observe.support import write_bundle
from device.status import Status, running_status, status_path, write_status
from device.store.cache_writer import CacheWriter
from device.store.journal import Journal
from device.store.places import Places, make_folders, places
from device.store.records import Credential, Method, NewEntry, Person
from device.store.seal import load_key

ANNA = "a1" * 16


def status(**more: object) -> Status:
    values = {
        "pid": os.getpid(), "boot": boot_id(), "mono": SystemClock().mono(), "started_mono": 1.0, "ready_s": 1.2,
        "door_id": "front",
        "phase": "secure", "mode": "normal", "degraded": (), "camera": "usb", "camera_state": "fine", "fps": 29.5,
        "frames_dropped": 3, "sightings_dropped": 0, "model_id": "m", "runtime": "r", "templates": 7, "people": 5,
        "rejected": 0, "foreign": 0, "threshold": 0.58, "fpir_asked": 1e-3, "fpir_stated": 1e-3, "fpir_met": True,
        "threshold_why": "", "rates": (), "liveness": "normal", "clock": "synced", "journal_entries": 99,
        "journal_waiting": 0, "relay_alive": True, "memory_mb": 210.0, **more}
    return Status(**values)  # type: ignore[arg-type]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("DOOR_LINK", raising=False)
    where = places()
    make_folders(where)
    return where


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "terminal.toml"
    path.write_text('[door]\nlock = "strike"\n[camera]\nsource = "rtsp://admin:CANARY-PASSWORD@10.0.0.5/x"\n')
    return path


# --- metrics ---------------------------------------------------------------------------------------------


def test_metrics_are_served_on_loopback_and_name_nobody() -> None:
    metrics = Metrics(lambda: status(degraded=("camera_lost",), phase="released"))
    claim = Claim(ANNA, frozenset({Method.FACE}), since_mono=10.0)
    granted = Decision(True, "face_granted", ANNA, 5.0, claim=claim, methods=frozenset({Method.FACE, Method.CARD}))
    metrics.decided(granted, Now(SystemClock().now(), 10.4))
    metrics.decided(replace(granted, granted=False, reason="expired"), Now(SystemClock().now(), 11.0))
    port = metrics.serve(0)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    finally:
        metrics.close()
    assert 'door_decisions_total{method="card+face",reason="face_granted",result="granted"} 1.0' in text
    assert 'door_decision_seconds_bucket{le="0.5"} 1.0' in text
    assert "door_gallery_size 7.0" in text
    assert "door_released 1.0" in text
    assert 'door_degraded{reason="camera_lost"} 1.0' in text
    assert ANNA not in text
    assert not re.search(r"[0-9a-f]{32}", text)


# --- logs ------------------------------------------------------------------------------------------------


def test_in_the_systems_journal_a_line_is_one_object_with_its_priority() -> None:
    record = logging.LogRecord("device.x", logging.ERROR, "f", 1, "person %s\nsaid \"no\"", ("p1",), None)
    line = JsonFormatter().format(record)
    assert line.startswith("<3>")
    assert "\n" not in line
    assert json.loads(line[3:]) == {"level": "error", "from": "device.x", "said": 'person p1\nsaid "no"'}


def test_an_exception_is_kept_with_its_line() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = logging.LogRecord("x", logging.CRITICAL, "f", 1, "failed", (), sys.exc_info())
    said = json.loads(JsonFormatter().format(record)[3:])
    assert "ValueError: bad" in said["trace"]


def test_a_person_at_a_terminal_reads_text(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        set_up(logging.INFO, {})
        logging.getLogger("device.x").info("hello")
        set_up(logging.INFO, {"JOURNAL_STREAM": "8:1"})
        logging.getLogger("device.x").info("hello")
    finally:
        root.handlers[:], root.level = before
    text, journal = capsys.readouterr().err.splitlines()
    assert text == "INFO device.x: hello"
    assert journal.startswith("<6>{")


# --- doctor ----------------------------------------------------------------------------------------------


def test_every_fault_has_a_remedy() -> None:
    assert {code for code, row in REASONS.items() if row.severity is Severity.FAULT} == set(REMEDIES)


def test_a_terminal_that_does_not_run_is_told_to_be_started(state: Places, config: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config", str(config)]) == 1
    assert "systemctl start doord" in capsys.readouterr().out


@pytest.mark.parametrize("untrue", [{"boot": "e" * 32}, {"pid": 0}, {"pid": 2**22 + 1}, {"pid": "x"}, {"mono": None},
                                    {"mono": SystemClock().mono() + 3600}, {"mono": 0.5}])
def test_a_status_that_was_left_behind_is_no_running_terminal(untrue: dict[str, object], state: Places, config: Path,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    write_status(status_path(state), status(**untrue))
    assert running_status(status_path(state), SystemClock()) is None
    assert main(["status", "--config", str(config)]) == 1
    assert "doord does not run" in capsys.readouterr().out
    assert main(["pair"]) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', '{"pid": 7, "mono": 1, "boot": "x"}', "\0"])
def test_a_status_file_of_anything_is_no_running_terminal(text: str, state: Places, config: Path) -> None:
    status_path(state).write_text(text)
    assert running_status(status_path(state), SystemClock()) is None
    assert main(["status", "--config", str(config)]) == 1


def test_faults_are_named_with_what_to_do(state: Places, config: Path) -> None:
    write_status(status_path(state), status(degraded=("camera_lost", "hub_silent"), foreign=3, fpir_met=False))
    found = {one.name: one for one in examine(state, SystemClock(), config, {"GPIOZERO_PIN_FACTORY": "mock"})}
    assert found["camera_lost"].verdict is found["hub_silent"].verdict is Verdict.FAIL
    assert REMEDIES["camera_lost"] in found["camera_lost"].said
    assert found["gallery"].verdict is found["threshold"].verdict is found["pins"].verdict is Verdict.WARN
    assert found["doord"].verdict is Verdict.OK


def test_a_well_terminal_is_called_well(state: Places, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Journal.open(state.journal_db, SystemClock(), "b" * 32).close()
    write_status(status_path(state), status())
    assert main(["doctor", "--config", str(config), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"ok"} >= {row["verdict"] for row in rows if row["name"] in ("doord", "journal", "disk", "hub")}


def test_files_that_were_set_aside_are_told(state: Places, config: Path) -> None:
    (state.journal_db.parent / "journal.db.aside-20260301T000000Z").write_bytes(b"x")
    found = {one.name: one for one in examine(state, SystemClock(), config)}
    assert "journal.db.aside-20260301T000000Z" in found["set aside"].said


def test_a_damaged_journal_and_a_bad_link_are_found(state: Places, config: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    state.journal_db.write_bytes(b"no database at all" * 500)
    link = tmp_path / "link.toml"
    link.write_text("terminal_id = 3\n")
    monkeypatch.setenv("DOOR_LINK", str(link))
    found = {one.name: one for one in examine(state, SystemClock(), config)}
    assert found["journal"].verdict is found["hub"].verdict is Verdict.FAIL


# --- the bundle for support ------------------------------------------------------------------------------


def test_a_bundle_holds_what_helps_and_nothing_of_anybody(state: Places, config: Path, tmp_path: Path) -> None:
    writer = CacheWriter.open(state.gallery_db, load_key(state), SystemClock())
    writer.put_person(Person(ANNA, "CANARY-NAME"))
    writer.put_credential(Credential("c" * 32, ANNA, Method.CARD, b"24:CANARY"))
    writer.close()
    journal = Journal.open(state.journal_db, SystemClock(), "b" * 32)
    journal.append(entry("face_granted", ANNA, methods="face"))
    journal.append(NewEntry("passage", "entered", ANNA, (("company", f"{ANNA} {'d' * 32}"),)))
    journal.close()
    write_status(status_path(state), status())
    path = tmp_path / "support.tar.gz"
    names = write_bundle(path, state, SystemClock(), config)
    with tarfile.open(path) as tar:
        parts = {member.name.split("/")[1]: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    assert set(parts) == set(names)
    everything = b"".join(parts.values())
    for canary in (b"CANARY", ANNA.encode(), state.key.read_bytes(), state.key.read_bytes().hex().encode()):
        assert canary not in everything
    lines = [json.loads(line) for line in parts["journal.jsonl"].decode().splitlines()]
    assert lines[0]["person"] == lines[1]["person"] == "person-1"
    assert lines[1]["detail"]["company"].split()[0] == "person-1"
    assert json.loads(parts["configuration.json"])["camera"]["source"] == "left out"
    assert json.loads(parts["machine.json"])["packages"]["numpy"]


def test_a_bundle_says_what_could_not_be_had(state: Places, tmp_path: Path) -> None:
    path = tmp_path / "s.tar.gz"
    write_bundle(path, state, SystemClock(), tmp_path / "none.toml")
    with tarfile.open(path) as tar:
        text = io.TextIOWrapper(tar.extractfile("open-door-support/configuration.json")).read()  # type: ignore[arg-type]
    assert text.startswith("not to be had:")


def test_a_bundle_that_cannot_be_written_is_one_line(state: Places, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["support", str(tmp_path / "nowhere" / "s.tar.gz")]) == 1
    assert capsys.readouterr().err.count("\n") == 1

"""doorctl as a shell sees it: streams that fail, input that ends, letters that are not there, JSON on request."""

from __future__ import annotations

import argparse
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import FrameType

import pytest
from documentation import subcommands

from device.cli import build_parser, main
from device.clock import SystemClock, boot_id
from device.face.card import Card
from device.status import Status, status_path
from device.store.cache_writer import CacheWriter
from device.store.places import Places, make_folders, places
from device.store.records import Person
from device.store.seal import load_key

DOORCTL = (sys.executable, "-m", "device.cli")
WEI = "a" * 32
POLICY = '[[rule]]\nid = "staff"\ngroup = "nobodys"\n'


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A stand-alone terminal that knows one person."""
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("DOOR_LINK", raising=False)
    where = places()
    make_folders(where)
    writer = CacheWriter.open(where.gallery_db, load_key(where), SystemClock())
    writer.put_person(Person(WEI, "李伟"))
    writer.close()
    return where


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    """What a command that ends with 0 says with --json: one document and nothing else."""
    assert main([*map(str, arguments), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


# --- help ------------------------------------------------------------------------------------------------


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for _, sub, _ in subcommands(parser):
        yield from parsers(sub)


def examples() -> Iterator[list[str]]:
    """The words after doorctl of every example in every help text."""
    for parser in parsers(build_parser()):
        for part in re.sub(r" \(.*?\)", "", (parser.epilog or "").removeprefix("example: ")).split(";"):
            words = shlex.split(part.partition(">")[0])
            yield words[words.index("doorctl") + 1:]


def test_every_example_in_a_help_text_is_right_usage() -> None:
    parser, found = build_parser(), list(examples())
    assert len(found) > 40
    for words in found:
        parser.parse_args(words)


# --- streams ---------------------------------------------------------------------------------------------


FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
FULL_LINE = "doorctl: the output cannot be written: No space left on device\n"


@FULL
def test_an_output_that_is_full_is_one_line_to_the_end_of_the_process(state: Places) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*DOORCTL, "person", "list"], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=100, check=False, env={**os.environ, "PYTHONUNBUFFERED": ""})
    assert (done.returncode, done.stderr) == (1, FULL_LINE)


@FULL
@pytest.mark.parametrize("arguments", [["person", "list", "--json"], ["status"], ["policy", "show"]])
def test_every_command_says_that_its_output_is_full(state: Places, pack: Card, arguments: list[str],
                                                    monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(arguments) == 1
    assert capsys.readouterr().err == FULL_LINE


def test_a_reader_that_has_gone_is_no_word(state: Places, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert main(["person", "list"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_terminal_window_has_no_letters_for_is_written_in_escapes(
        state: Places, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for more in ([], ["--json"]):
        window = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr("sys.stdout", window)
        assert main(["person", "list", *more]) == 0
        said.append(window.buffer.getvalue().decode("ascii"))  # type: ignore[attr-defined]
    assert f"{WEI}  \\u674e\\u4f1f  " in said[0]
    assert json.loads(said[1])[0]["label"] == "李伟"


def at_a_keyboard(*arguments: str, typed: bytes) -> tuple[int, str]:
    """Exit code of doorctl before a terminal at which somebody types, and all that it showed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*DOORCTL, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                          start_new_session=True) as child:
        os.close(theirs)
        shown, is_typed = b"", False
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not is_typed and shown.rstrip().endswith(b":"):
                is_typed = True
                os.write(ours, typed)
        code = child.wait(60)
    os.close(ours)
    return code, shown.decode()


def test_input_that_ends_at_the_consent_question_is_no_consent(state: Places) -> None:
    code, shown = at_a_keyboard("enrol", "Anna", "anna.jpg", typed=b"\x04")
    assert code == 1
    assert shown.splitlines()[-1] == "doorctl: no consent, nothing enrolled"


def test_input_that_ends_at_a_pin_is_one_line_and_gives_none(state: Places) -> None:
    code, shown = at_a_keyboard("credential", "pin", WEI, "1001", typed=b"\x04")
    assert code == 1
    assert shown.splitlines()[-1] == "doorctl: the input ended before everything was answered; nothing was changed"
    reader = CacheWriter.open(state.gallery_db, load_key(state), SystemClock())
    assert reader.credentials(WEI) == []
    reader.close()


# --- JSON ------------------------------------------------------------------------------------------------


def test_what_is_told_to_doord_is_one_document(state: Places, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    said = {field.name: 0 for field in fields(Status)} | {
        "pid": os.getpid(), "boot": boot_id(), "mono": SystemClock().mono()}
    status_path(state).write_text(json.dumps(said))
    before = {number: signal.signal(number, hear) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        assert as_json(capsys, "reset") == as_json(capsys, "pair") == {"is_told": True}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == [signal.SIGUSR1, signal.SIGUSR2]


def test_credentials_are_given_and_taken_in_json(state: Places, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    card = as_json(capsys, "credential", "card", "李伟", "124,64377")
    assert (card["person_id"], card["method"], card["is_duress"]) == (WEI, "card", False)
    monkeypatch.setattr("sys.stdin", io.StringIO("4711\n"))
    pin = as_json(capsys, "credential", "pin", "李伟", "1001", "--duress")
    assert (pin["method"], pin["is_duress"]) == ("pin", True)
    gone = as_json(capsys, "credential", "remove", card["credential_id"])
    assert gone == {"credential_id": card["credential_id"], "is_removed": True}
    assert as_json(capsys, "person", "remove", "李伟") == {"person_id": WEI, "is_removed": True}


def test_a_policy_is_checked_and_set_in_json(state: Places, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    checked = as_json(capsys, "policy", "check", path)
    assert (checked["rules"], checked["schedules"]) == (1, 0)
    assert checked["warnings"] == ["nobody belongs to group 'nobodys'"]
    put = as_json(capsys, "policy", "set", path)
    assert put["policy"] == checked["policy"] != put["before"]
    assert as_json(capsys, "policy", "set", path)["before"] == put["policy"]


def test_a_bundle_for_support_is_listed_in_json(state: Places, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "support.tar.gz"
    found = as_json(capsys, "support", path)
    assert found["file"] == str(path)
    assert "doctor.json" in found["parts"]  # type: ignore[operator]
    assert path.stat().st_size > 0


# --- what cannot be understood ---------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["0001-01-01T00:00", "9999-12-31T23:59-14:00"])
def test_a_moment_at_the_end_of_the_calendar_is_wrong_usage(
        state: Places, moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "李伟", "front", moment]) == 2
    assert "the year must lie between" in capsys.readouterr().err

"""The hub with its database on a real PostgreSQL: its own tests hold there, and what differs is as it should be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import postgres
import pytest
import sqlalchemy as sa
from hub_samples import li_wei, open_hub
from sync_samples import enrol

from device.clock import HandClock
from device.errors import ConfigError, StoreError
from sync.hub import cli, storage
from sync.hub.errors import FieldRefused
from sync.hub.hub import Hub
from sync.hub.ledger import Put
from sync.hub.places import DRIVER, SERVER, places
from sync.hub.storage import Storage

TESTS = Path(__file__).parent
ON_FILES = {
    "people": ("in_the_clear", "from_every_file", "costs_the_same"),
    "positions": ("command_line",),
    "fleet": (),
    "policies": ("in_the_clear", "with_a_backup", "command_line"),
    "credentials": ("command_line",),
    "passes": ("after_a_backup", "command_line"),
    "exporting": ("command_line",),
    "importing": (),
    "api": ("readiness",),
    "rollouts": ("set_back",),
    "catchup": (),
    "sync": ("set_back",),
}
"""Module of tests -> parts of the names of those that are about the file, its copies, or a command in a folder."""
QUICK = ("people", "positions", "policies")


@pytest.fixture(scope="module", autouse=True)
def socket():
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.server() as folder:
        before = os.environ.get(postgres.VARIABLE)
        os.environ[postgres.VARIABLE] = str(folder)
        yield folder
        os.environ.pop(postgres.VARIABLE)
        if before is not None:
            os.environ[postgres.VARIABLE] = before


@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                    for name in ON_FILES])
def test_the_hubs_own_tests_hold_there(module, tmp_path):
    file = TESTS / ("test_sync_world.py" if module == "sync" else f"test_hub_{module}.py")
    chosen = ["-k", f"not ({' or '.join(ON_FILES[module])})"] if ON_FILES[module] else []
    before = postgres.databases()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *chosen,
                           f"--basetemp={tmp_path / 'run'}", file], cwd=TESTS.parent, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(postgres.databases() - before) > 3  # it was not a file that they ran on


@pytest.fixture
def hub(tmp_path, tmp_path_factory):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    yield made
    made.close()


def address(hub: Hub) -> str:
    assert hub.where.server is not None
    return hub.where.server


def test_nothing_of_a_person_lies_in_the_clear_on_the_server(hub, socket):
    hub.people.add(li_wei())
    enrol(hub, 2)
    hub.close()
    dumped = subprocess.run([str(postgres.programs() / "pg_dump"), address(hub).replace(DRIVER, "postgresql")],
                            capture_output=True, check=True).stdout
    assert b"persons" in dumped and b"CANARY" not in dumped
    assert b"CANARY".hex().encode() not in dumped  # as bytes are dumped


def test_two_processes_worth_of_writers_give_no_number_twice_and_lose_none(hub):
    other = Storage.open(address(hub))
    beside = type(hub.ledger)(other, hub.vault, HandClock(), hub.where.mark)
    failures: list[BaseException] = []

    def write(ledger, letter: str) -> None:
        try:
            for number in range(40):
                ledger.append("group/staff", [Put("rule", f"{letter}{number}", b"x")])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=pair) for pair in ((hub.ledger, "a"), (beside, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    living = hub.ledger.living("group/staff").changes
    assert sorted(one.seq for one in living) == list(range(1, 81))
    assert hub.ledger.head("group/staff").digest == beside.head("group/staff").digest
    other.close()


def test_who_writes_for_too_long_holds_up_the_others_for_so_long_and_they_are_told(hub, monkeypatch):
    monkeypatch.setattr(storage, "_LOCK_SERVER", storage._LOCK_SERVER.replace(f"{storage.WAIT_S}s", "200ms"))
    other = Storage.open(address(hub))
    with hub.storage.write(), pytest.raises(StoreError, match="another process has written"):
        other.write().__enter__()
    with other.write():
        pass
    other.close()


def test_a_database_that_was_set_back_is_noticed_and_nobody_who_was_removed_comes_back(hub, tmp_path):
    first, second = sorted(enrol(hub, 2))
    hub.close()
    copy = tmp_path / "copy"
    postgres.address_of(copy, template=str(sa.make_url(address(hub)).database))
    hub = Hub.open(hub.where, HandClock(), {})
    hub.people.remove([first])
    epoch = hub.ledger.epoch
    hub.close()
    older = places({SERVER: postgres.address_of(copy)}, hub.where.root)
    again = Hub.open(older, HandClock(), {})
    try:
        assert again.ledger.was_set_back and again.ledger.epoch != epoch
        assert [one.person.person_id for one in again.people.page(10)] == [second]
    finally:
        again.close()


def test_a_text_that_it_cannot_keep_is_refused_and_what_was_begun_with_it_is_undone(hub):
    before = hub.people.count()
    def begin() -> None:
        with hub.storage.write() as tx:
            hub.people.add(li_wei(), tx)
            hub.people.has("\0")

    with pytest.raises(FieldRefused):
        begin()
    assert hub.people.count() == before


def test_it_is_set_up_from_the_command_line_and_copies_are_left_to_the_servers_tools(tmp_path, monkeypatch, capsys):
    postgres.make_blank()
    monkeypatch.setenv(SERVER, postgres.address_of(tmp_path))
    state = ["--state", str(tmp_path / "state")]
    assert cli.main([*state, "person", "list"]) == 1
    assert "the server's database: there is no hub here yet" in capsys.readouterr().err
    assert cli.main([*state, "init", "--site", "hq"]) == 0
    assert cli.main([*state, "init", "--site", "hq"]) == 1
    assert "the server's database: there is a hub already" in capsys.readouterr().err
    assert cli.main([*state, "status"]) == 0
    for words in (["backup", str(tmp_path / "copy.db")], ["restore", str(tmp_path / "copy.db")]):
        capsys.readouterr()
        assert cli.main([*state, *words]) == 1
        said = capsys.readouterr().err
        assert "the server's own tools" in said and said.count("\n") == 1
    assert not (tmp_path / "state/data/hub.db").exists()
    (tmp_path / "state/keys/keys.db").unlink()
    assert cli.main([*state, "status"]) == 1
    assert "missing, and the server's database is sealed under it" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "error"), [
    ("mysql://db.example/x", ConfigError), ("db.example", ConfigError), ("postgresql://", None),
    ("postgresql://fleethub:CANARY@127.0.0.1:1/x", StoreError), ("postgresql://h:port/x", StoreError)])
def test_an_address_that_leads_nowhere_is_one_line_without_its_password(given, error, tmp_path):
    if error is None:
        assert places({SERVER: given}, tmp_path).server == f"{DRIVER}://"
        return
    with pytest.raises(error) as refused:
        Hub.open(places({SERVER: given}, tmp_path), HandClock(), {}, is_new=True)
    assert "\n" not in str(refused.value) and "CANARY" not in str(refused.value)
    assert "CANARY" not in repr(places({SERVER: "postgresql://a:CANARY@b/c"}, tmp_path))

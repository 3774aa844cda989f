"""What doord heeds of the hub: settings within limits, groups that lapse, the journal; and the vigil over threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from store_samples import BOOT

from device.clock import HandClock
from device.errors import ConfigError
from device.hub_settings import ALLOWED, FILE, HubSettings
from device.hub_side import TRIM_S, HubHands, HubSide
from device.store.journal import Journal
from device.store.keeper import JournalKeeper
from device.store.records import NewEntry, Person
from device.store.terminal_records import TerminalConfig
from device.vigil import Vigil

OWN = '[door]\nlock = "strike"\nid = "front"\n[pins]\nlock = 17\n'
LONGER = "[door]\nrelease_s = 8.0\n[screen]\nlanguage = \"zh\"\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "terminal.toml"
    path.write_text(OWN)
    return path


# --- settings ------------------------------------------------------------------------------------------------


def test_what_the_hub_sets_is_in_force_from_the_next_start_and_the_rest_stays(own: Path, tmp_path: Path) -> None:
    first = HubSettings(own, tmp_path)
    assert (first.version, first.config.door.release_s) == (0, 5.0)
    first.take(TerminalConfig(3, LONGER))
    assert first.config.door.release_s == 5.0
    then = HubSettings(own, tmp_path)
    assert (then.version, then.config.door.release_s, then.config.screen.language) == (3, 8.0, "zh")
    assert (then.config.door.id, then.config.pins.lock) == ("front", 17)
    assert own.read_text() == OWN


@pytest.mark.parametrize(("text", "said"), [
    ("[pins]\nlock = 4\n", "pins is not the hub's to set"),
    ("[camera]\nsource = \"rtsp://elsewhere\"\n", "camera is not the hub's to set"),
    ("[door]\nlock = \"maglock\"\n", "door.lock is the installer's"),
    ("[kiosk]\nsetup = false\n", "kiosk.setup is the installer's"),
    ("[face]\nliveness = \"none\"\n", "at the terminal only"),
    ("[door]\nrelease_s = 900.0\n", "release_s"),
    ("door = 1\n", "door is not the hub's to set"),
    ("[door\n", "version 4"),
    ("x = " + "[" * 100_000, "version 4"),
])
def test_what_is_not_the_hubs_or_does_not_fit_is_refused_as_a_whole(own: Path, tmp_path: Path, text: str,
                                                                    said: str) -> None:
    settings = HubSettings(own, tmp_path)
    settings.take(TerminalConfig(3, LONGER))
    with pytest.raises(ConfigError, match=said):
        settings.take(TerminalConfig(4, LONGER + text if text.startswith("[pins]") else text))
    assert HubSettings(own, tmp_path).version == 3


@pytest.mark.parametrize("kept", [b"", b"# version x\n", b"\xff\xfe", b"# version 5\n[pins]\nlock = 4\n"])
def test_a_damaged_part_of_the_hubs_is_left_out_and_the_terminals_own_holds(own: Path, tmp_path: Path,
                                                                           kept: bytes) -> None:
    (tmp_path / FILE).write_bytes(kept)
    found = HubSettings(own, tmp_path)
    assert (found.version, found.config.door.release_s, found.config.pins.lock) == (0, 5.0, 17)


def test_every_setting_that_the_hub_may_set_exists() -> None:
    from device.config import known_keys

    known = {name for name, *_ in known_keys()}
    assert {f"{section}.{key}" for section, keys in ALLOWED.items() for key in keys} <= known


# --- heeding -------------------------------------------------------------------------------------------------


class Desk:
    """Of the desk, what it says of the link."""

    def __init__(self) -> None:
        self.is_stale = False
        self.lapsed: frozenset[str] = frozenset()
        self.journal_ahead = ""
        self.stored = 0

    def is_lapsed(self, group: str) -> bool:
        return group in self.lapsed

    def acked(self, journal_id: str) -> int:
        return self.stored


class Side:
    """A HubSide with a real journal, and what it moved."""

    def __init__(self, folder: Path, settings: HubSettings | None = None) -> None:
        self.clock, self.degraded, self.told = HandClock(), dict[str, bool](), list[Any]()
        self.keeper = JournalKeeper(lambda: Journal.open(folder / "journal.db", self.clock, BOOT), self.clock)
        self.side = HubSide(self.keeper, settings, self.clock, HubHands(
            lambda reason, is_active: self.degraded.update({reason: is_active}), self.keeper.append,
            lambda: self.told.append("renewed"), lambda: self.told.append("restart")))
        self.desk = Desk()

    def link(self) -> Side:
        self.side.desk = self.desk  # type: ignore[assignment]
        return self

    def reasons(self) -> list[str]:
        assert self.keeper.journal is not None
        return [one.reason for one in self.keeper.journal.last(100)]


def test_a_version_is_kept_doord_ends_and_the_next_start_says_that_it_is_applied(own: Path, tmp_path: Path) -> None:
    wanted = TerminalConfig(3, LONGER)
    before = Side(tmp_path, HubSettings(own, tmp_path))
    before.side.configure(wanted)
    assert (before.reasons(), before.told) == ([], ["restart"])
    before.keeper.close()
    after = Side(tmp_path, HubSettings(own, tmp_path))
    after.side.configure(wanted)
    assert (after.reasons(), after.told) == (["config_changed"], [])
    assert after.keeper.journal is not None
    assert dict(after.keeper.journal.last(1)[0].detail)["version"] == 3


@pytest.mark.parametrize("takes", [True, False])
def test_a_version_that_is_refused_is_journalled_with_the_reason_and_nothing_ends(own: Path, tmp_path: Path,
                                                                                 takes: bool) -> None:
    side = Side(tmp_path, HubSettings(own, tmp_path) if takes else None)
    side.side.configure(TerminalConfig(3, "[pins]\nlock = 4\n"))
    assert (side.reasons(), side.told) == (["config_refused"], [])


def test_persons_of_lapsed_groups_alone_are_unknown_and_others_lose_the_group(tmp_path: Path) -> None:
    side = Side(tmp_path).link()
    both, one = Person("a" * 32, "A", ("staff", "lab")), Person("b" * 32, "B", ("lab",))
    assert side.side.known(both) is both
    side.desk.lapsed = frozenset({"lab"})
    kept = side.side.known(both)
    assert kept is not None
    assert kept.groups == ("staff",)
    assert side.side.known(one) is None
    assert side.side.known(None) is None
    side.side.desk = None
    assert side.side.known(one) is one


def test_silence_degrades_and_a_journal_that_the_hub_has_more_of_is_begun_anew(tmp_path: Path) -> None:
    side = Side(tmp_path).link()
    side.keeper.append(NewEntry("release", "granted_face", None, ()))
    assert side.keeper.journal is not None
    first = side.keeper.journal.journal_id
    side.desk.is_stale = True
    side.side.each_second()
    assert (side.degraded, side.told) == ({"hub_silent": True}, [])
    side.desk.journal_ahead = first
    side.side.each_second()
    assert side.told == ["renewed"]
    assert side.keeper.journal is not None
    assert side.keeper.journal.journal_id != first


def test_what_the_hub_has_not_acknowledged_waits(tmp_path: Path) -> None:
    side = Side(tmp_path).link()
    for _ in range(5):
        side.keeper.append(NewEntry("release", "granted_face", None, ()))
    side.desk.stored = 3
    assert side.side.outbox() == 2
    side.clock.advance(TRIM_S)
    side.side.each_second()
    assert side.side.outbox() == 2


# --- the vigil -----------------------------------------------------------------------------------------------


class Watched:
    """A thread as the vigil sees it."""

    def __init__(self) -> None:
        self.silent = 0.0

    def silent_s(self) -> float:
        return self.silent

    def is_alive(self) -> bool:
        return True


def test_the_watchdog_is_told_only_while_vision_answers_and_a_hung_process_ends(
        monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr("device.vigil.os._exit", ended.append)
    threads = {name: Watched() for name in ("vision", "gallery", "credentials")}
    degraded: list[tuple[str, bool]] = []
    vigil = Vigil(object(), threads, lambda *told: degraded.append(told),  # type: ignore[arg-type]
                  lambda: ended.append("secured"))
    vigil.each_second()
    assert vigil.kicks == 1
    threads["gallery"].silent = 2.5
    vigil.each_second()
    assert (vigil.kicks, degraded, ended) == (1, [("vision_silent", True)], [])
    threads["gallery"].silent = 0.0
    vigil.each_second()
    assert (vigil.kicks, degraded[1:], ended) == (2, [("vision_silent", False)], [])
    threads["vision"].silent = 5.5
    vigil.each_second()
    assert (vigil.kicks, ended) == (2, ["secured", 1])

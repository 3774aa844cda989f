"""What the installer's page is made of: the PIN, the meters, wires, network, the tie to a hub, the wizard."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.clock import HandClock
from device.config import PinsConfig
from device.door.types import DoorState, Phase
from device.errors import UsageError
from device.frame import Frame
from device.kiosk.form import PageRefused
from device.kiosk.setup import tie
from device.kiosk.setup.meters import FocusMeter, light
from device.kiosk.setup.network import gateway_of, ipv6_of, name_servers_of, network
from device.kiosk.setup.pin import LOCKED_S, TRIES, SetupPin, Verdict, fresh_pin, set_pin
from device.kiosk.setup.wires import wires
from device.kiosk.setup.wizard import Wizard
from device.store.places import Places, make_folders, places
from sync.hub.claims import _LETTERS, _hash

WHOLE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def where(tmp_path: Path) -> Places:
    found = places({"DOOR_STATE": str(tmp_path / "state")})
    make_folders(found)
    return found


# --- the PIN ---


def test_the_right_pin_is_right_and_no_pin_is_unset(where: Places) -> None:
    pin = SetupPin(where, HandClock())
    assert pin.check("314159") is Verdict.UNSET
    set_pin(where, "314159")
    assert pin.check("314158") is Verdict.WRONG
    assert pin.check("314159") is Verdict.RIGHT


def test_only_doord_can_read_the_hash_and_it_is_no_pin(where: Places) -> None:
    set_pin(where, "314159")
    path = where.journal_db.parent / "setup-pin"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"314159" not in path.read_bytes()
    assert b"argon2id" in path.read_bytes()


@pytest.mark.parametrize("digits", ["", "31415", "3141592653589", "abcdef", "111111", "123456", "１２３４５６"])
def test_a_pin_that_is_short_or_guessed_first_is_refused(where: Places, digits: str) -> None:
    with pytest.raises(UsageError):
        set_pin(where, digits)
    assert not SetupPin(where, HandClock()).is_set


def test_five_wrong_tries_shut_the_page_for_a_quarter_of_an_hour(where: Places) -> None:
    set_pin(where, "314159")
    clock = HandClock()
    pin = SetupPin(where, clock)
    verdicts = [pin.check("271828") for _ in range(TRIES)]
    assert verdicts == [Verdict.WRONG] * (TRIES - 1) + [Verdict.LOCKED]
    clock.advance(LOCKED_S - 1)
    assert pin.check("314159") is Verdict.LOCKED
    clock.advance(2)
    assert pin.check("314159") is Verdict.RIGHT


def test_a_restart_gives_no_fresh_tries(where: Places) -> None:
    set_pin(where, "314159")
    for number in range(1, TRIES):
        assert SetupPin(where, HandClock()).check("271828") is Verdict.WRONG, number
    assert SetupPin(where, HandClock()).check("271828") is Verdict.LOCKED
    assert SetupPin(where, HandClock()).check("314159") is Verdict.LOCKED


def test_a_right_pin_forgives_the_wrong_ones(where: Places) -> None:
    set_pin(where, "314159")
    pin = SetupPin(where, HandClock())
    for _ in range(3):
        assert [pin.check("271828") for _ in range(TRIES - 1)] == [Verdict.WRONG] * (TRIES - 1)
        assert pin.check("314159") is Verdict.RIGHT


def test_a_fresh_pin_is_made_once(where: Places) -> None:
    first = fresh_pin(where)
    assert first is not None
    assert len(first) == 8
    assert fresh_pin(where) is None
    assert SetupPin(where, HandClock()).check(first) is Verdict.RIGHT


def test_a_hash_that_was_spoilt_opens_to_nobody(where: Places) -> None:
    set_pin(where, "314159")
    (where.journal_db.parent / "setup-pin").write_bytes(b"\xff\0$argon2id$nonsense")
    assert SetupPin(where, HandClock()).check("314159") is Verdict.WRONG


# --- meters ---


def pattern(blur: float = 0.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(5)
    sharp = rng.integers(0, 255, (240, 320, 3)).astype(np.uint8)
    return cv2.GaussianBlur(sharp, (0, 0), blur) if blur else sharp


def test_the_peak_is_held_while_the_lens_turns_past_it() -> None:
    meter = FocusMeter()
    readings = [meter.read(pattern(blur), WHOLE) for blur in (4.0, 2.0, 1.0, 2.0, 4.0, 1.0)]
    assert [one.is_sharp for one in readings] == [True, True, True, False, False, True]
    assert readings[-1].peak == readings[2].value
    assert len(readings[-1].curve) == 6
    meter.reset()
    assert meter.read(pattern(4.0), WHOLE).is_sharp


def test_focus_counts_within_the_zone_alone() -> None:
    half = pattern(6.0)
    half[:, 160:] = pattern()[:, 160:]
    meter = FocusMeter()
    assert meter.read(half, (0.5, 0.0, 1.0, 1.0)).value > 10 * meter.read(half, (0.0, 0.0, 0.4, 1.0)).value


@pytest.mark.parametrize(("level", "word"), [
    (8, "setup.light_dim"), (50, "setup.light_dim"), (120, "setup.light_good"), (210, "setup.light_glaring"),
    (255, "setup.light_glaring")])
def test_light_is_dim_good_or_glaring(level: int, word: str) -> None:
    found = light(np.full((90, 160, 3), level, np.uint8), WHOLE)
    assert found.word == word
    assert found.mean == pytest.approx(level / 255, abs=0.002)


def test_a_bright_window_behind_the_visitor_is_told() -> None:
    scene = np.full((100, 100, 3), 110, np.uint8)
    scene[:30, :30] = 255
    found = light(scene, WHOLE)
    assert (found.word, found.bright) == ("setup.light_glaring", 0.09)


# --- wires ---


def test_every_wired_input_is_shown_as_the_door_takes_it() -> None:
    pins = PinsConfig(contact=22, rex=23, tamper=24, fire=25, interlock=6, bell=5)
    state = replace(DoorState(), phase=Phase.OPEN, is_fire_input=True)
    shown = {one.name: (one.pin, one.is_active, one.word) for one in wires(state, pins, 60.0)}
    assert shown == {"contact": (22, True, "setup.open"), "rex": (23, False, "setup.let_go"),
                     "tamper": (24, False, "setup.cover_on"), "fire": (25, True, "setup.alarm"),
                     "interlock": (6, False, "setup.closed"), "bell": (5, False, "setup.let_go")}
    assert [one.name for one in wires(state, PinsConfig(rex=23), 60.0)] == ["rex"]
    assert wires(state, PinsConfig(bell=5), 0.5)[0].is_active


# --- network ---


def test_the_gateway_is_read_from_the_kernels_table() -> None:
    table = ("Iface\tDestination\tGateway\tFlags\n"
             "eth0\t0000A8C0\t00000000\t0001\neth0\t00000000\t0101A8C0\t0003\n")
    assert gateway_of(table) == "192.168.1.1"
    for damaged in ("", "x", "a\nb c d e", "h\neth0\t00000000\tzz\t0003"):
        assert gateway_of(damaged) == ""


def test_addresses_and_name_servers_are_read_and_damage_is_left_out() -> None:
    assert ipv6_of("fe800000000000000000000000000001 02 40 20 80 eth0\nnonsense\n") == {"eth0": ("fe80::1",)}
    assert name_servers_of("# a comment\nnameserver 10.0.0.1\nnameserver\nsearch x\n") == ("10.0.0.1",)


def test_this_machines_network_is_told_without_loopback() -> None:
    assert "lo" not in [one.name for one in network().interfaces]


def test_a_machine_without_network_is_told_so(tmp_path: Path) -> None:
    found = network(tmp_path)
    assert (found.interfaces, found.gateway, found.name_servers) == ((), "", ())


# --- the tie to a hub ---


def test_the_code_is_made_once_and_is_one_that_the_hub_could_have_made(where: Places) -> None:
    code = tie.claim_code(where)
    assert tie.claim_code(where) == code
    assert len(code.replace("-", "")) == 20
    assert set(code.replace("-", "")) <= set(_LETTERS)
    assert _hash(code) == _hash(code.replace("-", "").lower())
    assert stat.S_IMODE(tie.code_path(where).stat().st_mode) & 0o007 == 0


def test_the_label_is_read_by_a_camera_as_it_was_written(where: Places) -> None:
    text = tie.label("10000000A1B2C3D4", tie.claim_code(where))
    svg = tie.qr_svg(text).decode()
    side = int(svg.split('viewBox="0 0 ')[1].split()[0])
    picture = np.full((side, side), 255, np.uint8)
    for module in svg.split('path d="')[1].split('"')[0].split("M")[1:]:
        x, y = module.split("h")[0].split()
        picture[int(y), int(x)] = 0
    found, _, _ = cv2.QRCodeDetector().detectAndDecode(cv2.resize(picture, None, fx=8, fy=8,
                                                                  interpolation=cv2.INTER_NEAREST))
    assert found == text


@pytest.mark.parametrize(("content", "serial"), [(b"10000000a1b2c3d4\0", "10000000A1B2C3D4"), (b"<svg>\0", None),
                                                 (b"\xff\xfe", None)])
def test_the_serial_is_the_boards_or_stands_for_the_installation(tmp_path: Path, content: bytes,
                                                                 serial: str | None) -> None:
    board = tmp_path / "sys/firmware/devicetree/base"
    board.mkdir(parents=True)
    (board / "serial-number").write_bytes(content)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    found = tie.serial(tmp_path)
    if serial is not None:
        assert found == serial
    else:
        assert len(found) == 8
        assert found.lower() not in "0123456789abcdef0123456789abcdef"


def test_a_linked_terminal_tells_whose_it_is(where: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link.toml"
    monkeypatch.setenv("DOOR_LINK", str(link))
    monkeypatch.setenv("DOOR_STATE", str(where.root))
    assert tie.tie(where) == tie.Tie(False)
    link.write_text('terminal_id = "door-1"\nsite = "hq"\nbroker_host = "hub.example"\nbroker_port = 8883\n'
                    f'hub_signing = ["{"a" * 64}"]\nhub_sealing = "{"b" * 64}"\n')
    (where.root / "sync.json").write_text('{"is_up": false, "silent_s": 12, "waiting": 7}')
    found = tie.tie(where)
    assert (found.terminal_id, found.broker, found.is_up, found.silent_s, found.waiting) == (
        "door-1", "hub.example:8883", False, 12.0, 7)
    (where.root / "sync.json").write_text("[" * 2000)
    assert tie.tie(where).is_up is None
    link.write_text("nonsense = ")
    assert "link.toml" in tie.tie(where).said


# --- the wizard ---


@dataclass(frozen=True, slots=True)
class Step:
    species: str
    light: str = "bright"


@dataclass(frozen=True, slots=True)
class Seen:
    score: float | None
    is_passed: bool


class Core:
    """Commissioning that says of each presentation what the test wants."""

    def __init__(self, *seen: Seen | None) -> None:
        self._seen = iter(seen)
        self.frames = 0

    def plan(self, people: int) -> Sequence[Step]:
        return [Step("live"), Step("print")]

    def watch(self, frames: Iterable[Frame], step: Any, advise: Any) -> Seen | None:
        self.frames += len(list(frames))
        advise("action.blink")
        return next(self._seen)

    def conclude(self, tries: Sequence[Any]) -> dict[str, Any]:
        return {"tries": len(tries)}

    def stored(self) -> dict[str, Any] | None:
        return None


def frames(seconds: float) -> Iterator[Frame]:
    yield from (Frame(seq, seq / 30, np.zeros((2, 2, 3), np.uint8)) for seq in range(3))


def test_the_wizard_goes_through_every_presentation_and_repeats_an_unseen_one() -> None:
    wizard = Wizard(lambda: Core(Seen(0.9, True), None, Seen(0.1, False)), frames)
    wizard.begin(1)
    assert (wizard.watch().last, wizard.round.place) == ("passed", 1)
    assert (wizard.watch().last, wizard.round.place) == ("unseen", 1)
    with pytest.raises(PageRefused):
        wizard.conclude()
    assert (wizard.watch().last, wizard.round.is_done) == ("not_passed", True)
    assert wizard.conclude() == {"tries": 2}
    with pytest.raises(PageRefused):
        wizard.watch()


def test_a_presentation_that_fails_can_be_repeated() -> None:
    core = Core(Seen(0.9, True))
    wizard = Wizard(lambda: core, lambda seconds: (_ for _ in ()).throw(OSError("gone")))
    wizard.begin(1)
    with pytest.raises(OSError, match="gone"):
        wizard.watch()
    assert not wizard.round.is_watching
    assert wizard.round.place == 0


def test_nothing_is_watched_before_a_run_has_begun() -> None:
    with pytest.raises(PageRefused):
        Wizard(Core, frames).watch()

"""Which chip is opened and what its lines are called, and that the fake library is like the real one."""

from __future__ import annotations

import errno
import inspect
import os
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import gpiod
import pytest
from gpiozero.exc import PinInvalidPin

from device.errors import HardwareMissing
from device.hardware import fake_gpiod, gpiod_chip
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.gpiod_line import Mode
from device.hardware.pins import open_factory, open_output

NAMED = {"GPIOZERO_PIN_FACTORY": "gpiod"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DOOR_GPIO_CHIP", "DOOR_GPIO_BIAS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip(names={5: "PQ.05", 7: "spare", 8: "spare", 9: "12"})


@pytest.fixture
def factory(chip: FakeChip) -> Iterator[GpiodFactory]:
    made = GpiodFactory(gpiod=FakeGpiod(chip))
    yield made
    made.close()


# --- its lines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["spare", "12.0"])
def test_a_name_that_two_lines_have_names_neither(factory: GpiodFactory, name: str) -> None:
    with pytest.raises(PinInvalidPin, match="or not the only one called so; offsets go to 63"):
        factory.pin(name)


def test_a_line_is_known_by_its_name_and_a_number_is_always_an_offset(factory: GpiodFactory) -> None:
    assert factory.pin("PQ.05") is factory.pin(5)
    assert factory.pin("12") is factory.pin(12)
    assert (repr(factory.pin(5)), repr(factory.pin(9))) == ("line 5 (PQ.05)", "line 9")


# --- which chip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "says"), [
    (errno.ENOENT, "/dev/gpiochip0 is not there; DOOR_GPIO_CHIP names another"),
    (errno.EACCES, "/dev/gpiochip0 may not be opened; add this account to the device's group"),
    (errno.ENOTTY, "/dev/gpiochip0 is no GPIO chip"),
])
def test_a_chip_that_cannot_be_opened_is_one_clear_line(
        monkeypatch: pytest.MonkeyPatch, number: int, says: str) -> None:
    def refused(_path: str) -> None:
        raise OSError(number, os.strerror(number))

    library = types.ModuleType("gpiod")
    library.__dict__.update(Chip=refused, LineSettings=object)
    monkeypatch.setitem(sys.modules, "gpiod", library)
    with pytest.raises(HardwareMissing, match=re.escape(says)) as caught:
        open_factory(NAMED)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("library", "says"), [
    (None, r"gpiod is missing: pip install 'open-door\[jetson\]'"),
    (types.ModuleType("gpiod"), "gpiod is of libgpiod 1"),
])
def test_a_missing_or_old_library_is_one_clear_line(
        monkeypatch: pytest.MonkeyPatch, library: types.ModuleType | None, says: str) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", library)
    with pytest.raises(HardwareMissing, match=says):
        open_factory(NAMED)


def test_an_unknown_bias_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_GPIO_BIAS", "outside")
    with pytest.raises(HardwareMissing, match="DOOR_GPIO_BIAS=outside is unknown"):
        open_factory(NAMED)


@pytest.mark.parametrize("wanted", ["tegra234-gpio-aon", "gpiochip1"])
def test_a_chip_is_found_by_its_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(gpiod_chip, "_DEVICES", str(tmp_path / "gpiochip*"))
    labels = ("tegra234-gpio", "tegra234-gpio-aon", "twin", "twin")
    chips = [FakeChip(str(tmp_path / f"gpiochip{number}"), label) for number, label in enumerate(labels)]
    for number in range(5):  # the last is no chip
        (tmp_path / f"gpiochip{number}").touch()
    monkeypatch.setenv("DOOR_GPIO_CHIP", wanted)
    factory = GpiodFactory(gpiod=FakeGpiod(*chips))
    output = open_output(factory, 3, False)
    assert [chip.held() for chip in chips] == [set(), {3}, set(), set()]
    output.close()
    factory.close()
    with pytest.raises(HardwareMissing, match=r"2 chips are called twin: .*gpiochip2, .*gpiochip3; name the path"):
        GpiodFactory("twin", FakeGpiod(*chips))
    with pytest.raises(HardwareMissing, match=r"no GPIO chip is called tegra; there are: tegra234-gpio \(.*\), "):
        GpiodFactory("tegra", FakeGpiod(*chips))


# --- the real library ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "says"), [
    ("/dev/null", "/dev/null is no GPIO chip"),
    ("/nowhere", "/nowhere is not there"),
    ("no-such-label", "no GPIO chip is called no-such-label; there are: "),
])
def test_the_real_library_refuses_what_is_no_chip(path: str, says: str) -> None:
    with pytest.raises(HardwareMissing, match=says):
        GpiodFactory(path)


CALLED = {
    "Chip": (fake_gpiod.OpenedChip, "gpiod_chip", "_chip"),
    "LineRequest": (fake_gpiod.LineRequest, "gpiod_line", "_request"),
}


@pytest.mark.parametrize("name", CALLED)
def test_what_is_called_is_gpiods_by_name_and_by_parameters(name: str) -> None:
    fake, module, attribute = CALLED[name]
    source = (Path(gpiod_chip.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    called = set(re.findall(rf"self\.{attribute}\.(\w+)|_opened\(\)\.(\w+)", source))
    names = {first or second for first, second in called}
    assert len(names) >= 4
    for method in names:
        ours, theirs = getattr(fake, method), getattr(getattr(gpiod, name), method)
        assert isinstance(ours, property) == isinstance(theirs, property), method
        if not isinstance(ours, property):
            wanted = [(one.name, one.default) for one in inspect.signature(ours).parameters.values()]
            given = [(one.name, one.default) for one in inspect.signature(theirs).parameters.values()]
            assert given[:len(wanted)] == wanted, method
    assert list(inspect.signature(FakeGpiod().Chip).parameters) == list(inspect.signature(gpiod.Chip).parameters)


@pytest.mark.parametrize("name", ["LineSettings", "LineInfo", "ChipInfo", "EdgeEvent"])
def test_the_fakes_values_have_gpiods_fields_and_defaults(name: str) -> None:
    ours, theirs = getattr(fake_gpiod, name).__dataclass_fields__, getattr(gpiod, name).__dataclass_fields__
    assert set(ours) <= set(theirs)
    for field in ours:
        default = [getattr(fields[field].default, "name", fields[field].default) for fields in (ours, theirs)]
        assert default[0] == default[1] or {*map(type, default)} == {type(ours[field].default)}, field


@pytest.mark.parametrize("name", ["Value", "Direction", "Bias", "Edge"])
def test_the_fakes_words_are_gpiods(name: str) -> None:
    words = getattr(fake_gpiod, name)
    assert set(words.__members__) <= set(getattr(gpiod.line, name).__members__)
    assert getattr(FakeGpiod.line, name) is words
    assert {*fake_gpiod.EdgeEvent.Type.__members__} == {*gpiod.EdgeEvent.Type.__members__}


@pytest.mark.parametrize("mode", [
    Mode("output", level=1), Mode("output", "up", "both"),
    *(Mode("input", pull, edges) for pull in ("floating", "up", "down") for edges in ("none", "rising", "both")),
])
def test_the_real_library_takes_the_settings_of_every_mode(
        factory: GpiodFactory, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    line = factory.pin(4)._line
    monkeypatch.setattr(line.chip, "gpiod", gpiod)
    settings = line._settings(mode)
    words = gpiod.line
    assert settings.direction is (words.Direction.INPUT if mode.function == "input" else words.Direction.OUTPUT)
    assert settings.output_value is (words.Value.ACTIVE if mode.level else words.Value.INACTIVE)
    pulled = {"floating": words.Bias.DISABLED, "up": words.Bias.PULL_UP, "down": words.Bias.PULL_DOWN}[mode.pull]
    assert settings.bias is (pulled if mode.function == "input" else words.Bias.AS_IS)
    gpiod._ext.LineConfig().add_line_settings([4], gpiod.line_settings._line_settings_to_ext(settings))
    monkeypatch.undo()

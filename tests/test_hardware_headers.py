"""The header's table agrees with gpiozero's, names no pin twice, and suggests keys that there are."""

from __future__ import annotations

from dataclasses import fields

import pytest
from gpiozero import pi_info

from device.config import ControllerConfig, PinsConfig, ReaderConfig, parse_config
from device.hardware.headers import GROUND, HEADER, place

RASPBERRY_PI_4 = "c03112"
SECTIONS = {"pins": PinsConfig, "reader": ReaderConfig, "controller": ControllerConfig}


def test_every_position_of_a_raspberry_pi_is_where_gpiozero_has_it() -> None:
    pins = pi_info(RASPBERRY_PI_4).headers["J8"].pins
    for pin in HEADER:
        assert pins[pin.position].name == f"GPIO{pin.raspberry}"
    assert all(pins[position].name == "GND" for position in GROUND)


def test_no_position_and_no_line_occurs_twice() -> None:
    for column in ("position", "raspberry", "jetson", "line"):
        values = [getattr(pin, column) for pin in HEADER]
        assert len(set(values)) == len(values)


def test_what_is_suggested_are_keys_and_a_configuration_made_of_them_is_taken() -> None:
    sections: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for pin in HEADER:
        section, _, key = pin.fits.partition(".")
        assert key in {field.name for field in fields(SECTIONS[section])}
        if key.startswith("keypad"):
            sections[section].setdefault(key, []).append(pin.raspberry)  # type: ignore[attr-defined]
        else:
            assert key not in sections[section]
            sections[section][key] = pin.raspberry
    found = parse_config({"door": {"lock": "strike"}, **sections})
    assert found.pins.contact == 27


def test_outputs_are_suggested_where_a_starting_raspberry_pi_pulls_down() -> None:
    for key in ("lock", "relay2", "lamp_green", "lamp_red", "buzzer"):
        assert next(pin.raspberry for pin in HEADER if pin.fits == f"pins.{key}") >= 9


@pytest.mark.parametrize(("number", "factory", "told"), [
    (17, "lgpio", "pin 17 (position 11 of the header)"), (112, "gpiod", "pin 112 (position 11 of the header)"),
    (17, "gpiod", "pin 17"), (200, "lgpio", "pin 200")])
def test_a_pin_is_named_by_its_place(number: int, factory: str, told: str) -> None:
    assert place(number, factory) == told

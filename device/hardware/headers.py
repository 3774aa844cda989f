"""The forty-pin header that Raspberry Pi and Jetson Orin share: where a GPIO number comes out, and what fits where.

Used by `doorctl selftest` to name a place that an installer can count to, and for the pin table of the README. The
Raspberry Pi's numbers are BCM; the Jetson's are the line offsets of the chip tegra234-gpio (Orin Nano, Orin NX), from
the tables of NVIDIA's Jetson.GPIO.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeaderPin:
    """position  1 to 40; raspberry  BCM number; jetson, line  offset and the line's name

    fits  the configuration keys that we suggest for it; empty where it is left to others (SPI, I2C, serial)
    """

    position: int
    raspberry: int
    jetson: int
    line: str
    fits: str = ""


# Outputs that must not move while a Raspberry Pi starts are on BCM 9 to 27, which its firmware pulls down; 0 to 8 are
# pulled up. 2, 3 (I2C, with resistors on the board), 14 and 15 (console, OSDP) stay free.
HEADER = (
    HeaderPin(7, 4, 144, "PAC.06", "reader.keypad_rows"),
    HeaderPin(11, 17, 112, "PR.04", "pins.lock"),
    HeaderPin(12, 18, 50, "PH.07", "pins.buzzer"),
    HeaderPin(13, 27, 122, "PY.00", "pins.contact"),
    HeaderPin(15, 22, 85, "PN.01", "pins.rex"),
    HeaderPin(16, 23, 126, "PY.04", "pins.tamper"),
    HeaderPin(18, 24, 125, "PY.03", "pins.fire"),
    HeaderPin(19, 10, 135, "PZ.05", "reader.keypad_columns"),
    HeaderPin(21, 9, 134, "PZ.04", "reader.keypad_columns"),
    HeaderPin(22, 25, 123, "PY.01", "reader.keypad_rows"),
    HeaderPin(23, 11, 133, "PZ.03", "reader.keypad_columns"),
    HeaderPin(24, 8, 136, "PZ.06", "reader.keypad_rows"),
    HeaderPin(26, 7, 137, "PZ.07", "reader.keypad_rows"),
    HeaderPin(29, 5, 105, "PQ.05", "pins.interlock"),
    HeaderPin(31, 6, 106, "PQ.06", "pins.bell"),
    HeaderPin(32, 12, 41, "PG.06", "reader.wiegand_d0"),
    HeaderPin(33, 13, 43, "PH.00", "pins.lamp_green"),
    HeaderPin(35, 19, 53, "PI.02", "pins.lamp_red"),
    HeaderPin(36, 16, 113, "PR.05", "reader.wiegand_d1"),
    HeaderPin(37, 26, 124, "PY.02", "pins.relay2"),
    HeaderPin(38, 20, 52, "PI.01", "controller.wiegand_d0"),
    HeaderPin(40, 21, 51, "PI.00", "controller.wiegand_d1"),
)
GROUND = (6, 9, 14, 20, 25, 30, 34, 39)


def place(number: int, factory: str) -> str:
    """`pin 17 (position 11 of the header)`; the number alone on a board whose header is not known.

    factory  what GPIOZERO_PIN_FACTORY says
    """
    for one in HEADER:
        if number == (one.jetson if factory == "gpiod" else one.raspberry):
            return f"pin {number} (position {one.position} of the header)"
    return f"pin {number}"

"""`terminal.toml` -> frozen Config: pins, lock, camera, recognition, language.

Who may enter, when and how is not here: that is the site's administrator's, in `gallery.db`.
An unknown or misspelt key is an error that names the nearest known one; so is a value out of range.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PATH = Path("/etc/door/terminal.toml")


def _key(about: str, default: Any = dataclasses.MISSING, *, shown: bool = True, **limits: Any) -> Any:
    """One configuration key: what it means, its default, the values it may take; `shown` false where it may hold
    a password, so that no repr does."""
    return field(default=default, repr=shown, metadata={"about": about, **limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorConfig:
    """The lock and its times."""

    lock: str = _key("what the relay drives; must be named", choices=("strike", "maglock"))
    id: str = _key("name of this door in rules and in the journal", "door")
    release_s: float = _key("seconds that the door stays released", 5.0, least=0.5, most=60.0)
    release_accessible_s: float = _key("the same for people who need longer", 10.0, least=0.5, most=120.0)
    rex_release_s: float = _key("seconds that the exit button releases the door", 5.0, least=0.5, most=60.0)
    relock_on_open: bool = _key("whether the lock falls again as soon as the door opens; needs the contact", True)
    held_warning_s: float = _key("seconds open after which the visitor is asked to close", 20.0, least=1.0,
                                 most=3600.0)
    held_alarm_s: float = _key("seconds open after which the alarm is raised", 30.0, least=1.0, most=3600.0)
    fire_auto_reset: bool = _key("whether the door locks again by itself when the fire alarm's wire is quiet; else "
                                 "it stays free until `doorctl reset`", False)
    journal: str = _key("whether the release or its journal entry comes first", "after", choices=("after", "first"))
    time_zone: str = _key("IANA name of the site's time zone", "UTC")
    lockout_after: int = _key("failed tries of one minute after which an alarm is raised and that way in (faces, "
                              "cards, PINs, passes) rests for a minute", 5, least=1, most=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinsConfig:
    """GPIO numbers of what is wired (BCM; on boards with gpiod, the chip's line offsets); leave out what is not."""

    lock: int = _key("the lock's relay", 17, least=0, most=1023)
    contact: int | None = _key("door contact, closed = door closed", None, least=0, most=1023)
    rex: int | None = _key("request-to-exit button, closes when pressed", None, least=0, most=1023)
    tamper: int | None = _key("tamper switch, closed = cover on", None, least=0, most=1023)
    fire: int | None = _key("fire alarm's dry contact, opens on alarm", None, least=0, most=1023)
    lamp_green: int | None = _key("lamp: released", None, least=0, most=1023)
    lamp_red: int | None = _key("lamp: refused", None, least=0, most=1023)
    buzzer: int | None = _key("buzzer", None, least=0, most=1023)
    interlock: int | None = _key("contact of an interlock's other door, closed = that door closed", None, least=0,
                                 most=1023)
    bell: int | None = _key("doorbell button, closes when pressed", None, least=0, most=1023)
    relay2: int | None = _key("a second relay", None, least=0, most=1023)
    fire_closes: bool = _key("true where the fire alarm's contact closes on alarm: a cut wire goes unseen", False)
    active_low: bool = _key("true where the relay board energises on a low level", False)
    relay2_for: str = _key("what the second relay follows: an alarm that stands, a duress credential, the bell, each "
                           "release (gate), or this door being released or open (interlock)", "alarm",
                           choices=("alarm", "duress", "bell", "gate", "interlock"))
    relay2_s: float = _key("seconds of its pulse for duress, bell and gate", 1.0, least=0.1, most=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderConfig:
    """Other ways in than the face. A reader beside the door's inner side serves those who leave."""

    wiegand_d0: int | None = _key("card reader: line D0 (BCM)", None, least=0, most=1023)
    wiegand_d1: int | None = _key("card reader: line D1", None, least=0, most=1023)
    wiegand_side: str = _key("which way its holders pass", "entry", choices=("entry", "exit"))
    usb: str | None = _key("card reader that types like a keyboard: its device, e.g. "
                           "/dev/input/by-id/usb-...-event-kbd", None)
    usb_bits: int = _key("how many bits the number that it types stands for", 32, choices=(24, 32, 35, 64))
    usb_side: str = _key("which way its holders pass", "entry", choices=("entry", "exit"))
    keypad_rows: tuple[int, ...] = _key("keypad matrix: pins of its rows, top to bottom", (), least=0, most=1023)
    keypad_columns: tuple[int, ...] = _key("keypad matrix: pins of its columns, left to right", (), least=0,
                                            most=1023)
    keypad_side: str = _key("which way its users pass", "entry", choices=("entry", "exit"))
    qr: bool = _key("whether passes shown to the camera as QR codes are read", False)
    osdp: str | None = _key("OSDP reader: its serial port, e.g. /dev/ttyUSB0", None)
    osdp_address: int = _key("its address on the line", 0, least=0, most=126)
    osdp_baud: int = _key("bits per second", 9600, choices=(9600, 19200, 38400, 57600, 115200))
    osdp_side: str = _key("which way its holders pass", "entry", choices=("entry", "exit"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerConfig:
    """The access controller that this terminal serves as a reader, where a site has one already."""

    wiegand_d0: int | None = _key("Wiegand out: line D0 (BCM)", None, least=0, most=1023)
    wiegand_d1: int | None = _key("Wiegand out: line D1", None, least=0, most=1023)
    wiegand_bits: int = _key("format sent for an admitted person's card", 26, choices=(26, 34, 37))
    pulse_us: int = _key("length of a pulse, microseconds", 100, least=20, most=1000)
    period_us: int = _key("from pulse to pulse, microseconds", 2000, least=200, most=20_000)
    osdp: str | None = _key("OSDP out: serial port to the controller", None)
    osdp_address: int = _key("this terminal's address on the line", 0, least=0, most=126)
    osdp_baud: int = _key("bits per second", 9600, choices=(9600, 19200, 38400, 57600, 115200))


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraConfig:
    """Where frames come from."""

    source: str = _key("auto, rehearsal, picamera, usb:N, jetson:N, rtsp://..., a video file or a folder of stills",
                       "auto", shown=False)
    width: int = _key("pixels", 1280, least=160, most=4096)
    height: int = _key("pixels", 720, least=120, most=2160)
    fps: float = _key("frames per second asked of the camera", 30.0, least=1.0, most=120.0)
    infrared: str | None = _key("a second, near-infrared camera with lamps of its own, as source; it tells skin from "
                                "paper and screens", None, shown=False)
    infrared_place: tuple[float, float, float, float] = _key(
        "where it sees what the first does, in shares of the picture: x' = a x + c, y' = b y + d, as a, b, c, d",
        (1.0, 1.0, 0.0, 0.0), least=-2.0, most=2.0)
    rotate: int = _key("degrees clockwise that the picture must be turned", 0, choices=(0, 90, 180, 270))


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceConfig:
    """Recognition: a budget of errors, never a raw score."""

    pack: str = _key("model pack; auto = the one that `doorctl models use` chose", "auto")
    fpir: float = _key("share of strangers' tries that may pass (open-set 1:N)", 1e-3, least=1e-6, most=0.05)
    min_interocular_px: float = _key("smallest distance of the eyes that is recognised", 32.0, least=16.0, most=400.0)
    max_interocular_px: float = _key("largest distance of the eyes; a face nearer than that is asked to step back",
                                     400.0, least=40.0, most=2000.0)
    zone: tuple[float, float, float, float] = _key(
        "left, top, right, bottom of the part of the picture in which faces count, 0..1", (0.0, 0.0, 1.0, 1.0),
        least=0.0, most=1.0)
    lane_guard: str = _key("guard against the neighbouring gate", "off", choices=("off", "low", "medium", "high"))
    agree: int = _key("frames of a track that must agree", 3, least=1, most=10)
    of: int = _key("among so many of its newest frames", 5, least=1, most=20)
    margin: float = _key("cosine by which the best person must lead the second", 0.05, least=0.0, most=0.5)
    mirror: bool = _key("a second pass over the mirrored face at the door: slower, a little more certain", True)
    liveness: str = _key("how much proof of a live person the door asks for; none = a photo opens it", "normal",
                         choices=("none", "low", "normal", "high"))
    liveness_threshold: float | None = _key(
        "score of the passive networks below which a face is an attack, as `doorctl commission` measured it at this "
        "door; left out = the pack's", None, least=0.01, most=0.99)
    attack_high_s: float = _key("seconds of level high after the alarm of several attacks", 600.0, least=0.0,
                                most=86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenConfig:
    """What the visitor sees."""

    language: str = _key("of texts and voice", "en", choices=("en", "zh"))
    names: str = _key("an admitted person's name on the screen", "hidden", choices=("hidden", "masked", "full"))
    sound: bool = _key("whether the page plays a tone with each answer", True)
    voice: bool = _key("whether the page says aloud what it asks and answers; never a name", False)
    volume: int = _key("of tones and voice, per cent", 60, least=0, most=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class KioskConfig:
    """The screen at the door: a page for a browser on this machine."""

    enabled: bool = _key("whether the page is served, on loopback only", False)
    port: int = _key("of the page; 0 = any free one", 8730, least=0, most=65_535)
    card: bool = _key("whether the page offers the card as another way in", False)
    pin: bool = _key("whether it offers number and PIN", True)
    qr: bool = _key("whether it offers a pass as QR code", False)
    bell: bool = _key("whether it has a doorbell", False)
    attendance: bool = _key("whether it has keys for coming and going, kept with the next face", False)
    screen_light: bool = _key("whether the page flashes colours that a live face reflects, where liveness is high",
                              True)
    enrol: str = _key("whether faces are enrolled on the page, where the terminal stands alone: off, supervised "
                      "(after the setup PIN), or open to whoever stands there", "off",
                      choices=("off", "supervised", "open"))
    own: bool = _key("whether people may see there what is held about them, and have it corrected or deleted", True)
    setup: bool = _key("whether the installer's page is there, behind the setup PIN", True)
    purpose: str = _key("privacy notice: what faces are used for", "")
    retention: str = _key("privacy notice: how long they are kept", "")
    contact: str = _key("privacy notice: whom to ask", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Figures for Prometheus."""

    port: int | None = _key("loopback port on which they are served, 0 = any free one; left out = none", None,
                            least=0, most=65_535)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceConfig:
    """Pictures of attacks; nothing else is ever kept."""

    days: float = _key("days for which a picture of each attack is kept, sealed; 0 = none is", 0.0, least=0.0,
                       most=90.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole of terminal.toml."""

    door: DoorConfig
    pins: PinsConfig = PinsConfig()
    camera: CameraConfig = CameraConfig()
    face: FaceConfig = FaceConfig()
    reader: ReaderConfig = ReaderConfig()
    controller: ControllerConfig = ControllerConfig()
    screen: ScreenConfig = ScreenConfig()
    kiosk: KioskConfig = KioskConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    metrics: MetricsConfig = MetricsConfig()


def read_config(path: Path) -> Config:
    """The configuration in `path`; ConfigError with one line where it cannot be used."""
    return parse_config(read_table(path), str(path))


def read_table(path: Path) -> dict[str, Any]:
    """The TOML document in `path`, of which nothing is checked yet; ConfigError where it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; copy systemd/terminal.toml there and name the lock") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return table_of(text, str(path))


def table_of(text: str, where: str) -> dict[str, Any]:
    """A TOML document, of which nothing is checked yet; ConfigError where it is none."""
    try:
        table: dict[str, Any] = tomllib.loads(text)
        return table
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{where}: lists or tables are nested too deeply") from None


def parse_config(table: dict[str, Any], where: str = "terminal.toml") -> Config:
    """Config from a parsed TOML table; ConfigError names the first key that is wrong."""
    config: Config = _section(Config, table, where, "")
    if not config.door.id.strip() or not config.door.id.isprintable():
        raise ConfigError(f"{where}: door.id must be one line of printable characters, not {config.door.id!r}")
    if config.door.held_warning_s > config.door.held_alarm_s:
        raise ConfigError(f"{where}: door.held_warning_s cannot be more than door.held_alarm_s")
    if config.face.agree > config.face.of:
        raise ConfigError(f"{where}: face.agree ({config.face.agree}) cannot be more than face.of ({config.face.of})")
    if config.face.min_interocular_px > config.face.max_interocular_px:
        raise ConfigError(f"{where}: face.min_interocular_px cannot be more than face.max_interocular_px")
    if config.camera.infrared is not None and config.camera.infrared == config.camera.source:
        raise ConfigError(f"{where}: camera.infrared must be another camera than camera.source")
    left, top, right, bottom = config.face.zone
    if left >= right or top >= bottom:
        raise ConfigError(f"{where}: face.zone must be left, top, right, bottom with left < right and top < bottom")
    _check_zone(config.door.time_zone, where)
    _check_readers(config, where)
    return config


def known_keys() -> list[tuple[str, str, str, str]]:
    """(key, default, allowed values, meaning) of every key, for the README's table."""
    rows = []
    for section in dataclasses.fields(Config):
        for entry in dataclasses.fields(typing.get_type_hints(Config)[section.name]):
            default = "required" if entry.default is dataclasses.MISSING else _toml(entry.default)
            rows.append((f"{section.name}.{entry.name}", default, _allowed(entry.metadata), entry.metadata["about"]))
    return rows


def other_pins(config: Config) -> dict[str, int | None]:
    """Configuration key -> pin of every reader and controller that is wired to pins."""
    found = {f"{section}.wiegand_{line}": getattr(getattr(config, section), f"wiegand_{line}")
             for section in ("reader", "controller") for line in ("d0", "d1")}
    for name in ("keypad_rows", "keypad_columns"):
        found |= {f"reader.{name}[{number}]": pin for number, pin in enumerate(getattr(config.reader, name))}
    return found


def _section(kind: Any, table: Any, where: str, path: str) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: [{path}] must be a table")
    hints = typing.get_type_hints(kind)
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {_join(path, key)}{_nearest(key, path)}")
    values = {}
    for name, entry in fields.items():
        full = _join(path, name)
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _section(hints[name], table.get(name, {}), where, full)
        elif name in table:
            values[name] = _value(hints[name], table[name], entry.metadata, f"{where}: {full}")
        elif entry.default is dataclasses.MISSING:
            allowed = " or ".join(f'"{choice}"' for choice in entry.metadata.get("choices", ()))
            raise ConfigError(f"{where}: {full} is missing ({entry.metadata['about']}): write {full} = {allowed}")
    return kind(**values)


def _value(hint: Any, value: Any, limits: Any, what: str) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is tuple:
        return _values(typing.get_args(hint), value, limits, what)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        # What a list or table holds is not shown: an address in it may have a password.
        shown = "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else repr(value)
        raise ConfigError(f"{what} must be {_NAMES[hint]}, not {shown}")
    if "choices" in limits and value not in limits["choices"]:
        raise ConfigError(f"{what} must be one of {', '.join(map(str, limits['choices']))}, not {value!r}")
    if "least" in limits and not limits["least"] <= value <= limits["most"]:
        raise ConfigError(f"{what} must lie between {limits['least']} and {limits['most']}, not {value!r}")
    return value


def _values(items: Any, value: Any, limits: Any, what: str) -> Any:
    is_any_number = items[-1] is Ellipsis
    if not isinstance(value, list) or (not is_any_number and len(value) != len(items)):
        raise ConfigError(f"{what} must be a list of {'whole' if is_any_number else len(items)} numbers")
    return tuple(_value(items[0], item, limits, what) for item in value)


_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _nearest(key: str, path: str) -> str:
    names = [row[0] for row in known_keys()] + [entry.name for entry in dataclasses.fields(Config)]
    local = [name.rsplit(".", 1)[-1] for name in names if not path or name.startswith(path + ".")]
    if path == "face" and key in ("threshold", "score"):
        return "; a raw score cannot be set: set face.fpir, the share of strangers that may pass"
    close = difflib.get_close_matches(key, local, 1) or difflib.get_close_matches(_join(path, key), names, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _check_readers(config: Config, where: str) -> None:
    for section, pair in (("reader", config.reader), ("controller", config.controller)):
        if (pair.wiegand_d0 is None) != (pair.wiegand_d1 is None):
            raise ConfigError(f"{where}: {section}.wiegand_d0 and {section}.wiegand_d1 belong together: name both or "
                              "neither")
    if config.controller.period_us < 2 * config.controller.pulse_us:
        raise ConfigError(f"{where}: controller.period_us must be twice controller.pulse_us at least")
    rows, columns = config.reader.keypad_rows, config.reader.keypad_columns
    if (rows or columns) and (len(rows), len(columns)) not in ((4, 3), (4, 4)):
        raise ConfigError(f"{where}: reader.keypad_rows must name 4 pins and reader.keypad_columns 3 or 4")
    if config.reader.osdp is not None and config.reader.osdp == config.controller.osdp:
        raise ConfigError(f"{where}: reader.osdp and controller.osdp are one serial port; each needs its own")


def _check_zone(name: str, where: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{where}: door.time_zone {name!r} is unknown; write an IANA name such as "
                          "\"Asia/Shanghai\"") from None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _allowed(limits: Any) -> str:
    if "choices" in limits:
        return ", ".join(map(str, limits["choices"]))
    return f"{limits['least']} to {limits['most']}" if "least" in limits else ""

"""Changing terminal.toml from the page: the wanted lines change, all others stay, nothing wrong is ever written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.config import parse_config, read_config
from device.errors import ConfigError
from device.hub_settings import HubSettings
from device.kiosk.setup.settings import changed, choices, values, write, write_beside
from device.site_settings import CHANGEABLE, FILE

TEXT = """# the front door, wired by Kim
[door]
lock = "strike"   # powered to release
id = "front"

[pins]
lock = 17

[face]
zone = [0.0, 0.0, 1.0, 1.0]
"""


def test_a_line_is_changed_and_every_other_one_stays() -> None:
    text, config = changed(TEXT, {"door.id": "back"}, "t.toml")
    assert config.door.id == "back"
    assert text == TEXT.replace('id = "front"', 'id = "back"')


def test_keys_and_sections_that_are_not_there_are_added() -> None:
    text, config = changed(TEXT, {"door.release_s": 7.5, "screen.language": "zh", "kiosk.enrol": "open"}, "t.toml")
    assert (config.door.release_s, config.screen.language, config.kiosk.enrol) == (7.5, "zh", "open")
    assert config.pins.lock == 17
    assert "# the front door, wired by Kim" in text
    assert "release_s = 7.5" in text


def test_a_zone_is_kept_to_a_thousandth() -> None:
    _, config = changed(TEXT, {"face.zone": [0.1, 0.2, 0.8, 0.9]}, "t.toml")
    assert config.face.zone == (0.1, 0.2, 0.8, 0.9)


@pytest.mark.parametrize(("changes", "said"), [
    ({"door.lock": "velcro"}, "door.lock must be one of strike, maglock"),
    ({"pins.lock": 4}, "'pins.lock' is not changed here"),
    ({"camera.source": "rtsp://user:secret@x"}, "'camera.source' is not changed here"),
    ({"face.threshold": 0.1}, "'face.threshold' is not changed here"),
    ({"face.zone": [0.9, 0.0, 0.1, 1.0]}, "face.zone must be left, top, right, bottom"),
    ({"face.zone": [0.0, 0.0, 1.0]}, "face.zone must be a text, a number"),
    ({"screen.volume": 101}, "screen.volume must lie between 0 and 100"),
    ({"screen.volume": "60"}, "screen.volume must be a whole number"),
    ({"screen.volume": True}, "screen.volume must be a whole number"),
    ({"door.time_zone": "Mars/Olympus"}, "door.time_zone 'Mars/Olympus' is unknown"),
    ({"door.id": 'x"\nlock = "maglock'}, "door.id must be one line"),
    ({"door.id": "x" * 10_000}, "door.id must be one line of at most 400"),
    ({"door.release_s": float("nan")}, "door.release_s must be a text"),
    ({"door.release_s": None}, "door.release_s must be a text"),
    ({"door.release_s": {}}, "door.release_s must be a text")])
def test_what_would_be_no_configuration_is_refused_in_one_line(changes: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        changed(TEXT, changes, "t.toml")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ['door = {lock = "strike", id = "front"}\n',
                                  'door.lock = "strike"\ndoor.id = "front"\n',
                                  '[door]\nlock = "strike"\nid = """\nfront"""\n'])
def test_a_file_that_is_written_unusually_is_left_alone(text: str) -> None:
    with pytest.raises(ConfigError):
        changed(text, {"door.id": "back"}, "t.toml")


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=0, max_size=60))
def test_any_text_is_kept_as_it_is_or_refused(text: str) -> None:
    try:
        _, config = changed(TEXT, {"kiosk.purpose": text}, "t.toml")
    except ConfigError:
        assert not text.isprintable()
        return
    assert config.kiosk.purpose == text


def test_the_file_is_replaced_whole_and_the_old_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "terminal.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    assert write(path, {"door.id": "back"}).door.id == "back"
    assert read_config(path).door.id == "back"
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "terminal.toml.before").read_text() == TEXT
    assert len(list(tmp_path.iterdir())) == 2


def test_a_refused_change_leaves_the_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "terminal.toml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError):
        write(path, {"door.id": "back", "screen.volume": 900})
    assert path.read_text() == TEXT
    assert os.listdir(tmp_path) == ["terminal.toml"]


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; change it by hand"):
        write(tmp_path / "none.toml", {"door.id": "back"})


def test_every_key_has_a_value_and_choices_where_it_is_chosen() -> None:
    config = parse_config({"door": {"lock": "maglock"}})
    assert set(values(config)) == set(CHANGEABLE)
    assert choices()["door.lock"] == ["strike", "maglock"]
    assert "screen.volume" not in choices()


# --- a file that is not doord's to write ---


def test_what_is_laid_over_the_file_is_in_force_from_the_next_start_and_the_file_stays(tmp_path: Path) -> None:
    own, folder = tmp_path / "terminal.toml", tmp_path / "journal"
    folder.mkdir()
    own.write_text(TEXT)
    assert write_beside(own, folder / FILE, {"screen.language": "zh", "door.release_s": 7}).door.release_s == 7.0
    write_beside(own, folder / FILE, {"door.release_s": 8.5})
    found = HubSettings(own, folder).config
    assert (found.screen.language, found.door.release_s) == ("zh", 8.5)
    assert own.read_text() == TEXT


@pytest.mark.parametrize("changes", [{"pins.lock": 4}, {"door.lock": "glue"}, {"door.release_s": 900.0}, {"door": 1},
                                     {"door.fire_auto_reset": True}])
def test_what_is_not_the_pages_to_set_is_not_laid_over_either(tmp_path: Path, changes: Any) -> None:
    own = tmp_path / "terminal.toml"
    own.write_text(TEXT)
    with pytest.raises(ConfigError):
        write_beside(own, tmp_path / FILE, changes)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("kept", ["[pins]\nlock = 4\n", "door = 1\n", "[door\n", "[door]\nrelease_s = 900.0\n"])
def test_a_damaged_layer_is_left_out_and_the_file_holds(tmp_path: Path, kept: str) -> None:
    own = tmp_path / "terminal.toml"
    own.write_text(TEXT)
    (tmp_path / FILE).write_text(kept)
    found = HubSettings(own, tmp_path).config
    assert (found.pins.lock, found.door.release_s) == (17, 5.0)

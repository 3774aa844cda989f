"""terminal.toml: what is read, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.cli import main
from device.config import known_keys, parse_config, read_config
from device.errors import ConfigError

LEAST = {"door": {"lock": "strike"}}


def test_only_the_lock_must_be_named() -> None:
    config = parse_config(LEAST)
    assert config.door.lock == "strike"
    assert config.face.fpir == 1e-3


@pytest.mark.parametrize(("table", "words"), [
    ({}, ["door.lock is missing", '"strike" or "maglock"']),
    ({"door": {"lock": "magnet"}}, ["door.lock must be one of strike, maglock", "'magnet'"]),
    ({"door": {"lock": "strike", "relese_s": 3}}, ["unknown key door.relese_s", "did you mean release_s?"]),
    ({"door": {"lock": "strike"}, "camara": {}}, ["unknown key camara", "did you mean camera?"]),
    ({"door": {"lock": "strike"}, "face": {"threshold": 0.5}}, ["a raw score cannot be set", "face.fpir"]),
    ({"door": {"lock": "strike", "release_s": True}}, ["must be a number, not True"]),
    ({"door": {"lock": "strike", "release_s": float("nan")}}, ["must lie between"]),
    ({"door": {"lock": "strike"}, "pins": {"rex": 1999}}, ["pins.rex must lie between 0 and 1023"]),
    ({"door": {"lock": "strike"}, "pins": {"rex": 1.5}}, ["pins.rex must be a whole number"]),
    ({"door": {"lock": "strike"}, "face": {"zone": [0, 1]}}, ["face.zone must be a list of 4 numbers"]),
    ({"door": {"lock": "strike"}, "face": {"zone": [0.5, 0, 0.2, 1]}}, ["left < right"]),
    ({"door": {"lock": "strike"}, "face": {"agree": 6, "of": 5}}, ["face.agree (6)", "face.of (5)"]),
    ({"door": {"lock": "strike", "time_zone": "Mars/Base"}}, ["door.time_zone 'Mars/Base' is unknown"]),
    ({"door": {"lock": "strike", "id": " "}}, ["door.id must be one line", "' '"]),
    ({"door": {"lock": "strike", "id": "front\ndoor"}}, ["door.id must be one line"]),
    ({"door": {"lock": "strike"}, "face": {"min_interocular_px": 90, "max_interocular_px": 60}},
     ["face.min_interocular_px cannot be more than face.max_interocular_px"]),
    ({"door": []}, ["[door] must be a table"]),
])
def test_a_mistake_gets_one_line_that_names_the_key(table: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(table, "t.toml")
    message = str(caught.value)
    assert message.startswith("t.toml: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("source", [["rtsp://door:secret@cam/"], {"address": "rtsp://door:secret@cam/"}])
def test_a_value_of_the_wrong_kind_is_told_without_the_password_in_it(source: object) -> None:
    with pytest.raises(ConfigError, match="camera.source must be .*, not a (list|table)") as caught:
        parse_config({"door": {"lock": "strike"}, "camera": {"source": source}}, "terminal.toml")
    assert "secret" not in str(caught.value)


def test_a_missing_file_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; copy systemd/terminal.toml"):
        read_config(tmp_path / "none.toml")


def test_broken_toml_and_broken_text_are_told_with_the_file_name(tmp_path: Path) -> None:
    for content in (b"[door", b"\xff\xfe\x00"):
        path = tmp_path / "t.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="t.toml"):
            read_config(path)


def test_a_file_nested_without_end_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text("a = " + "[" * 5000)
    with pytest.raises(ConfigError, match=r"t\.toml: lists or tables are nested too deeply$"):
        read_config(path)


def test_the_example_configuration_is_valid() -> None:
    read_config(Path(__file__).parent.parent / "systemd" / "terminal.toml")


def test_every_key_has_a_meaning() -> None:
    rows = known_keys()
    assert len(rows) == len({row[0] for row in rows}) > 20
    assert all(row[3] for row in rows)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["door", "lock", "pins", "face", "zone", "rex", "x"]), inner, max_size=5),
                    max_leaves=12))
def test_any_table_gives_a_configuration_or_one_clear_error(table: object) -> None:
    if not isinstance(table, dict):
        return
    try:
        parse_config(table)
    except ConfigError as error:
        assert "\n" not in str(error)


SECRET = "hush-hush"


def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], camera: str, *options: str) -> tuple[int, str]:
    """Exit code of `doorctl check-config`, and all that it printed."""
    path = tmp_path / "t.toml"
    path.write_text(f'[door]\nlock = "strike"\n[camera]\n{camera}\n')
    code = main(["check-config", str(path), *options])
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_checking_the_configuration_prints_no_password(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]) -> None:
    camera = f'source = "rtsp://door:{SECRET}@10.0.0.9/live?pass={SECRET}"\ninfrared = "rtsp://door:{SECRET}@10.0.0.8"'
    code, told = checked(tmp_path, capsys, camera, *options)
    assert code == 0
    assert "rtsp://10.0.0.9/live" in told
    assert SECRET not in told


@pytest.mark.parametrize("source", [
    f"rtsps://door:{SECRET}@10.0.0.9/live", f"http://door:{SECRET}@10.0.0.9/", f"rtsp://do or:{SECRET}@10.0.0.9/",
    f"rtsp://door:{SECRET}@/live", "usb:-1", "usb:", "nosuch.mp4", "/nowhere/at/all", ""])
@pytest.mark.parametrize("key", ["source", "infrared"])
def test_a_camera_that_cannot_be_used_is_not_called_good(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, key: str) -> None:
    code, told = checked(tmp_path, capsys, f'{key} = "{source}"')
    assert code == 2
    assert f"camera.{key}" in told
    assert told.count("\n") == 1
    assert SECRET not in told


@pytest.mark.parametrize("source", ["auto", "rehearsal", "usb:0", "/dev/video3", "picamera", "jetson:1"])
def test_cameras_that_need_not_be_there_yet_are_good(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    assert checked(tmp_path, capsys, f'source = "{source}"')[0] == 0


def test_the_rehearsal_is_no_infrared_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = checked(tmp_path, capsys, 'infrared = "rehearsal"')
    assert code == 2
    assert "camera.infrared" in told


def test_a_clip_that_is_there_is_a_good_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert checked(tmp_path, capsys, f'source = "{tmp_path / "a.mp4"}"')[0] == 0

"""link.toml and the private keys beside it: what is refused, and how it is said."""

from __future__ import annotations

import pytest

from device.errors import ConfigError
from device.link import load_private, parse_link, read_link

WHOLE = {"terminal_id": "t-1", "site": "hq", "broker_host": "broker", "broker_port": 8883, "hub_url": "https://hub",
         "hub_signing": ["ab" * 32], "hub_sealing": "cd" * 32}


def test_a_whole_link_is_read_and_names_its_files_beside_it(tmp_path):
    link = parse_link(WHOLE, tmp_path)
    assert (link.terminal_id, link.hub_signing, link.ca) == ("t-1", (bytes.fromhex("ab" * 32),), tmp_path / "ca.pem")
    assert link.topic("command") == "door/v1/hq/terminal/t-1/command"
    assert parse_link({**WHOLE, "ca": "/elsewhere/ca.pem"}, tmp_path).ca.as_posix() == "/elsewhere/ca.pem"


@pytest.mark.parametrize("change", [
    {"terminal_id": "a/b"}, {"terminal_id": ""}, {"site": 5}, {"site": "x" * 49}, {"broker_port": 0},
    {"broker_port": True}, {"broker_port": "1"}, {"hub_signing": []}, {"hub_signing": "ab" * 32},
    {"hub_signing": ["zz" * 32]}, {"hub_sealing": "CD" * 32}, {"hub_sealing": None}, {"ca": 3}, {"typo": 1},
    {"stale_after_s": 0}, {"broker_host": "a\0b"}])
def test_a_wrong_key_is_named(tmp_path, change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        parse_link({**WHOLE, **change}, tmp_path)


@pytest.mark.parametrize("name", ["terminal_id", "site", "broker_host", "broker_port", "hub_signing", "hub_sealing"])
def test_a_missing_key_is_named(tmp_path, name):
    with pytest.raises(ConfigError, match=name):
        parse_link({key: value for key, value in WHOLE.items() if key != name}, tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = ", b"[" * 5000, b"x" * 70_000])
def test_a_file_that_is_no_link_is_one_clear_line(tmp_path, data):
    path = tmp_path / "link.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_link(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="door-syncd claim"):
        read_link(tmp_path / "missing.toml")


def test_a_private_key_must_be_whole_and_private(tmp_path):
    path = tmp_path / "signing.key"
    with pytest.raises(ConfigError, match="claim"):
        load_private(path, {})
    path.write_bytes(b"k" * 32)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_private(path, {})
    path.chmod(0o600)
    assert load_private(path, {}) == b"k" * 32
    path.write_bytes(b"k" * 31)
    with pytest.raises(ConfigError, match="32 bytes"):
        load_private(path, {})
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "signing.key").write_bytes(b"c" * 32)
    assert load_private(path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}) == b"c" * 32

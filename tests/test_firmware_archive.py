"""backup and restore: configuration and nothing else, out and back; a hostile archive changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from firmware_tree import SECRET, contents, lived_in, run_script
from hypothesis import given, settings
from hypothesis import strategies as st

from door_setup import archive  # isort: skip
from door_setup.plan import Stop  # isort: skip

TOML = b'[door]\nlock = "strike"\n'
DROPIN = "etc/systemd/system/doord.service.d/site.conf"
PARTS = {"etc/door/terminal.toml": TOML, "etc/door/link.toml": b'hub_url = "https://hub.example"\n',
         DROPIN: b"[Service]\nNice=-5\n"}


@pytest.fixture
def terminal(tmp_path: Path) -> Path:
    """A terminal with keys, people and events, and a configuration worth keeping."""
    root = tmp_path / "terminal"
    lived_in(root)
    for name, data in PARTS.items():
        (root / name).write_bytes(data)
    return root


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def with_manifest(parts: dict[str, bytes], change: Callable[[tarfile.TarInfo], object] = lambda info: None) -> bytes:
    """An archive whose manifest describes its members truly, whatever they are."""
    rows = [{"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in parts.items()]
    manifest = json.dumps({"version": 1, "release": "0.1.0", "members": rows}).encode()
    members = [(tarfile.TarInfo(name), data) for name, data in parts.items()]
    for info, _ in members:
        change(info)
    return tar_of((tarfile.TarInfo("manifest.json"), manifest), *members)


def as_link(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"


def test_a_backup_holds_the_configuration_and_no_people_events_or_keys(terminal: Path, tmp_path: Path) -> None:
    file = tmp_path / "door.tar.gz"
    run_script("backup", file, root=terminal)
    with tarfile.open(file) as tar:
        assert set(tar.getnames()) == {"manifest.json", *PARTS}
    assert SECRET not in gzip.decompress(file.read_bytes())
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.stat().st_mtime_ns
    assert "nothing to change" in run_script("backup", file, root=terminal).stdout
    assert file.stat().st_mtime_ns == before


def test_a_restored_configuration_is_what_was_backed_up(terminal: Path, tmp_path: Path) -> None:
    file = tmp_path / "door.tar.gz"
    run_script("backup", file, root=terminal)
    for name in PARTS:
        (terminal / name).unlink()
    would = run_script("restore", file, "--dry-run", root=terminal).stdout
    assert "would write /etc/door/terminal.toml" in would
    assert not (terminal / DROPIN).exists()
    run_script("restore", file, root=terminal)
    assert {name: (terminal / name).read_bytes() for name in PARTS} == PARTS
    before = contents(terminal)
    assert "nothing to change" in run_script("restore", file, root=terminal).stdout
    assert contents(terminal) == before


def test_on_another_board_the_link_is_left_out_since_its_keys_are_not_there(terminal: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "door.tar.gz", tmp_path / "other"
    run_script("backup", file, root=terminal)
    lived_in(other)
    for name in ("signing.key", "sealing.key", "tls.key"):
        for folder in ("credstore", "credstore.encrypted"):
            (other / "etc" / folder / name).unlink(missing_ok=True)
    (other / "etc/door/link.toml").unlink()
    said = run_script("restore", file, root=other).stdout
    assert "run provision with a fresh code" in said
    assert not (other / "etc/door/link.toml").exists()
    assert (other / "etc/door/terminal.toml").read_bytes() == TOML


HOSTILE = {
    "a path that climbs": with_manifest({"etc/door/../shadow": b"x"}),
    "an absolute path": with_manifest({"/etc/shadow": b"x"}),
    "a file of another's": with_manifest({"etc/shadow": b"x"}),
    "a key": with_manifest({"etc/credstore/terminal-key": b"k" * 32}),
    "a certificate": with_manifest({"etc/door/ca.pem": b"x"}),
    "a unit": with_manifest({"etc/systemd/system/doord.service": b"[Service]\n"}),
    "a drop-in of another unit": with_manifest({"etc/systemd/system/ssh.service.d/x.conf": b"[Service]\n"}),
    "a drop-in that install writes": with_manifest({"etc/systemd/system/doord.service.d/credentials.conf": b""}),
    "a command": with_manifest({DROPIN: b"[Service]\nExecStartPre=/bin/sh\n"}),
    "a command after a continued line": with_manifest({DROPIN: b"[Service]\nNice=1 \\\n\nExecStartPre=+/bin/sh\n"}),
    "an account": with_manifest({DROPIN: b"[Service]\nUser=root\n"}),
    "no setting": with_manifest({DROPIN: b"[Service]\n\xff\xfe\n"}),
    "a symlink": with_manifest({"etc/door/terminal.toml": b""}, as_link),
    "a bomb": with_manifest({"etc/door/terminal.toml": b"\0" * (64 << 20)}),
    "more members than it may have": with_manifest({f"{DROPIN[:-5]}{n}.conf": b"" for n in range(200)}),
    "no manifest": tar_of((tarfile.TarInfo("etc/door/terminal.toml"), TOML)),
    "a member twice": tar_of(*[(tarfile.TarInfo("etc/door/terminal.toml"), TOML)] * 2),
    "no archive": b"nothing of the kind",
    "nothing": b"",
    "its first half": archive.pack(PARTS, "0.1.0")[:200],
    "something after its end": archive.pack(PARTS, "0.1.0") + b"more",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_an_archive_that_holds_what_it_may_not_is_refused_before_anything_is_written(terminal: Path, tmp_path: Path,
                                                                                    what: str) -> None:
    file = tmp_path / "door.tar.gz"
    file.write_bytes(HOSTILE[what])
    before = contents(terminal)
    done = run_script("restore", file, root=terminal, is_checked=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("restore: ")
    assert contents(terminal) == before


def test_an_altered_member_is_noticed() -> None:
    raw = bytearray(gzip.decompress(archive.pack(PARTS, "0.1.0")))
    place = raw.index(b'lock = "strike"')
    raw[place + 8:place + 14] = b"maglok"
    with pytest.raises(Stop, match=r"terminal\.toml is not what manifest\.json says"):
        archive.unpack(gzip.compress(bytes(raw)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_a_refusal_and_never_anything_else(data: st.DataObject) -> None:
    raw = bytearray(gzip.decompress(archive.pack(PARTS, "0.1.0")))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = archive.unpack(gzip.compress(bytes(raw)))
    except Stop:
        return
    assert found == PARTS  # the damage hit nothing but padding, or a header's owner or time


def test_a_terminal_without_a_configuration_has_nothing_to_back_up(tmp_path: Path) -> None:
    done = run_script("backup", tmp_path / "door.tar.gz", root=tmp_path, is_checked=False)
    assert (done.returncode, "there is no configuration" in done.stderr) == (1, True)

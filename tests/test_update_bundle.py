"""The container: nothing but the expected names and sizes gets past its header, and nothing hangs or swells on it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from device.update.bundle import MAGIC, MAX_PARTS, Bundle, BundleRefused, header, write_bundle
from device.update.disk import UpdateFailed

PARTS: dict[str, bytes | Path] = {
    "manifest.json": b"{}", "metadata/timestamp.json": b"time", "metadata/17.targets.json": b"targets",
    "requirements.txt": b"", "wheels/small-1.0-py3-none-any.whl": b"wheel" * 100}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.bundle"
    write_bundle(path, PARTS)
    return path


def refusal(path: Path) -> str:
    """The one line with which a bundle is refused at its header."""
    with pytest.raises(BundleRefused) as refused, Bundle.open(path):
        pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


def of(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_what_is_written_is_read_again(whole: Path) -> None:
    with Bundle.open(whole) as bundle:
        assert {name: bundle.read(name) for name in bundle.parts} == PARTS
        assert list(bundle.parts) == sorted(PARTS)


def test_a_part_may_be_given_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "wheel").write_bytes(b"wheel" * 500_000)
    write_bundle(tmp_path / "a", {"wheels/a-1.whl": tmp_path / "wheel"})
    write_bundle(tmp_path / "b", {"wheels/a-1.whl": b"wheel" * 500_000})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with Bundle.open(tmp_path / "a") as bundle:
        assert [len(block) for block in bundle.blocks("wheels/a-1.whl")] == [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]


def test_a_bundle_cut_short_anywhere_is_refused_and_told_to_be_copied_again(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    for length in range(len(data)):
        line = refusal(of(tmp_path / "cut", data[:length]))
        assert "copy it again" in line or "is not an update bundle" in line
    assert "1 bytes too many" in refusal(of(tmp_path / "long", data + b"\0"))


@pytest.mark.parametrize("name", [
    "../etc/passwd", "/etc/passwd", "wheels/../../x.whl", "wheels/a/b.whl", "wheels/.hidden.whl", "wheels/a.exe",
    "wheels/", "wheels/" + "a" * 300 + ".whl", "WHEELS/a.whl", "metadata/0.root.json", "metadata/01.root.json",
    "metadata/1.timestamp.json", "metadata/1.mirrors.json", "release.json", "wheels/a.whl\0", "wheels/ü.whl"])
def test_a_name_that_has_no_place_in_a_bundle_is_refused(tmp_path: Path, name: str) -> None:
    line = refusal(of(tmp_path / "odd", MAGIC + b"1 " + name.encode() + b"\n\nx"))
    assert "has no place in a bundle" in line or "malformed" in line


@pytest.mark.parametrize(("name", "size"), [
    ("manifest.json", 10**6), ("requirements.txt", 10**7), ("metadata/timestamp.json", 10**6),
    ("wheels/bomb-1.whl", 10**9 + 1), ("wheels/bomb-1.whl", 9_999_999_999)])
def test_a_part_that_says_it_is_far_too_large_is_refused(tmp_path: Path, name: str, size: int) -> None:
    assert "at most" in refusal(of(tmp_path / "bomb", header({name: size})))


def test_parts_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    sizes = {f"wheels/a{number}-1.whl": 900_000_000 for number in range(3)}
    assert "at most 2000000000" in refusal(of(tmp_path / "bomb", header(sizes)))


@pytest.mark.parametrize("lines", [
    b"1 wheels/a.whl\n1 wheels/a.whl\n", b"1 wheels/b.whl\n1 wheels/a.whl\n", b"01 wheels/a.whl\n",
    b"-1 wheels/a.whl\n", b"+1 wheels/a.whl\n", b"1  wheels/a.whl\n", b"1\twheels/a.whl\n", b"1e3 wheels/a.whl\n",
    b"wheels/a.whl 1\n", b"\n", b"1 wheels/a.whl\r\n", "١ wheels/a.whl\n".encode()])
def test_a_list_of_parts_has_one_spelling(tmp_path: Path, lines: bytes) -> None:
    assert refusal(of(tmp_path / "odd", MAGIC + lines + b"\nxx"))


def test_more_parts_than_a_bundle_has_are_refused(tmp_path: Path) -> None:
    sizes = {f"wheels/a{number:04}.whl": 0 for number in range(MAX_PARTS + 1)}
    assert "at most 256 are read" in refusal(of(tmp_path / "many", header(sizes)))
    assert "has no end" in refusal(of(tmp_path / "endless", MAGIC + b"0 wheels/a.whl\n" * 100_000))


def test_what_is_no_plain_file_is_refused_at_once(whole: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a plain file" in refusal(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(whole)
    words = {tmp_path / "link": "is a link; name the file itself", tmp_path: "is not a plain file",
             tmp_path / "absent": "No such file"}
    for path, word in words.items():
        with pytest.raises((UpdateFailed, BundleRefused), match=word), Bundle.open(path):
            pass


def test_random_headers_are_read_or_refused_and_never_anything_else(whole: Path, tmp_path: Path) -> None:
    data, chance, refused = whole.read_bytes(), random.Random(20261124), 0
    for number in range(300):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 2, 20))):
            changed[chance.randrange(len(MAGIC) + 160)] = chance.randrange(256)
        try:
            with Bundle.open(of(tmp_path / str(number), bytes(changed))) as bundle:
                assert sum(part.size for part in bundle.parts.values()) < len(data)
        except BundleRefused:
            refused += 1
    assert refused > 250


def test_a_bundle_that_shrinks_while_it_is_read_is_refused(whole: Path) -> None:
    with Bundle.open(whole) as bundle:
        os.truncate(whole, 200)
        with pytest.raises(BundleRefused, match="has become shorter"):
            bundle.read("wheels/small-1.0-py3-none-any.whl")

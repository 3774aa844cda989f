"""Archives: pinned, read as plain files, refused where a byte differs, fetched with the real clients."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.errors import ModelMismatch, StoreError, TerminalError
from device.packs import archives, cache, fetch
from device.packs.archives import Archive, Member

TEXT = b"weights" * 100


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip and npm as on a machine without a network."""
    for key, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "npm_config_registry": "http://127.0.0.1:9",
                       "npm_config_fetch_retries": "0"}.items():
        monkeypatch.setenv(key, value)


def zip_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tgz_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def placed(data: bytes, members: dict[str, Member], name: str = "some.whl") -> Archive:
    """An archive that lies in the cache already."""
    archive = Archive(name, len(data), sha(data), fetch.Wheel("mediapipe==0.10.21", "any", "3.11"), members)
    archive.path().write_bytes(data)
    return archive


@pytest.mark.parametrize("pack", [zip_of, tgz_of])
def test_a_member_is_read_from_either_kind_of_archive(empty_cache: Path, pack: object) -> None:
    assert callable(pack)
    archive = placed(pack({"a": b"other", "b/c": TEXT}), {"it": Member("b/c", len(TEXT), sha(TEXT))})
    assert archives.read_members(archive, ["it"]) == {"it": TEXT}


@pytest.mark.parametrize("pack", [zip_of, tgz_of])
def test_an_altered_or_missing_member_is_named(empty_cache: Path, pack: object) -> None:
    assert callable(pack)
    members = {"it": Member("b/c", len(TEXT), sha(TEXT)), "gone": Member("b/d", 1, sha(b""))}
    archive = placed(pack({"b/c": TEXT[:-1] + b"!"}), members)
    with pytest.raises(ModelMismatch, match=r"altered b/c"):
        archives.read_members(archive, ["it"])
    with pytest.raises(ModelMismatch, match=r"lacks b/d"):
        archives.read_members(archive, ["gone"])


def test_a_member_that_grew_is_not_read_beyond_its_size(empty_cache: Path) -> None:
    bomb = zip_of({"it": bytes(50_000_000)})
    archive = placed(bomb, {"it": Member("it", 10, sha(bytes(10)))})
    with pytest.raises(ModelMismatch, match="altered it"):
        archives.read_members(archive, ["it"])


def test_an_archive_with_the_right_hash_but_of_no_known_kind_is_refused(empty_cache: Path) -> None:
    for data in (b"neither zip nor tar", tgz_of({"a": os.urandom(5000)})[:1500]):
        archive = placed(data, {"it": Member("a", 5000, sha(b""))})
        with pytest.raises(ModelMismatch, match="cannot be read"):
            archives.read_members(archive, ["it"])


def test_a_damaged_archive_is_fetched_again_and_without_network_that_is_one_line(
        empty_cache: Path, no_network: None) -> None:
    archive = placed(zip_of({"a": TEXT}), {})
    archive.path().write_bytes(b"damaged on the disk")
    with pytest.raises(fetch.FetchFailed, match=r"mediapipe==0\.10\.21 cannot be fetched") as failure:
        archives.obtain(archive)
    assert "\n" not in str(failure.value)
    assert "check the network" in str(failure.value)


def test_pip_refuses_an_archive_with_another_hash(empty_cache: Path, no_network: None, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / archives.MEDIAPIPE.file).write_bytes(zip_of({"a": TEXT}))
    monkeypatch.setenv("PIP_FIND_LINKS", str(source))
    with pytest.raises(ModelMismatch, match="another SHA-256"):
        archives.obtain(archives.MEDIAPIPE)
    assert [path.name for path in archives.MEDIAPIPE.path().parent.iterdir()] == [".lock"]


def test_pip_fetches_a_wheel_for_another_platform_and_the_second_time_it_is_there(
        empty_cache: Path, no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n"
    wheel = zip_of({"small/it": TEXT, "small-1.0.dist-info/METADATA": about, "small-1.0.dist-info/RECORD": b"",
                    "small-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n"})
    name = "small-1.0-cp311-cp311-manylinux_2_28_s390x.whl"
    (tmp_path / name).write_bytes(wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = fetch.Wheel("small==1.0", platform="manylinux_2_28_s390x", python="3.11")
    archive = Archive(name, len(wheel), sha(wheel), source, {"it": Member("small/it", len(TEXT), sha(TEXT))})
    assert archives.read_members(archive, ["it"])["it"] == TEXT
    (tmp_path / name).unlink()
    assert archives.read_members(archive, ["it"])["it"] == TEXT
    assert sorted(path.name for path in archive.path().parent.iterdir()) == [".lock", name]


@contextmanager
def registry(tgz: bytes) -> Iterator[str]:
    """A package registry on this machine that serves one package in one version."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_archive = self.path.endswith(".tgz")
            body = tgz if is_archive else json.dumps(manifest).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if is_archive else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    digest = base64.b64encode(hashlib.sha512(tgz).digest()).decode()
    manifest = {"name": "small", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {
        "name": "small", "version": "1.0.0",
        "dist": {"tarball": f"{address}/small-1.0.0.tgz", "integrity": f"sha512-{digest}"}}}}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(not fetch.has_npm(), reason="npm is not installed here")
def test_npm_fetches_a_package_and_what_is_not_the_pinned_archive_is_refused(
        empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tgz = tgz_of({"package/package.json": b'{"name": "small", "version": "1.0.0"}', "package/it": TEXT})
    right = Archive("small-1.0.0.tgz", len(tgz), sha(tgz), fetch.NodePackage("small@1.0.0"),
                    {"it": Member("package/it", len(TEXT), sha(TEXT))})
    with registry(tgz) as address:
        monkeypatch.setenv("npm_config_registry", address)
        with pytest.raises(ModelMismatch, match="another SHA-256"):
            archives.obtain(dataclasses.replace(right, sha256="0" * 64))
        assert archives.read_members(right, ["it"])["it"] == TEXT


@pytest.mark.skipif(not fetch.has_npm(), reason="npm is not installed here")
def test_npm_without_a_network_is_one_line(empty_cache: Path, no_network: None) -> None:
    with pytest.raises(fetch.FetchFailed, match="human-models@3.0.4 cannot be fetched: npm error") as failure:
        archives.obtain(archives.HUMAN_MODELS)
    assert "\n" not in str(failure.value)


def test_without_npm_and_without_network_it_is_said_that_npm_is_missing(
        empty_cache: Path, no_network: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(fetch.FetchFailed, match=r"npm \(there is none here"):
        archives.obtain(archives.HUMAN_MODELS)


def test_the_cache_is_where_the_surroundings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in ("DOOR_CACHE", "CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "door"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.cache_folder() == Path("/x/door")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/door:/var/cache/other")
    assert cache.cache_folder() == Path("/var/cache/door")
    monkeypatch.setenv("DOOR_CACHE", "/d")
    assert cache.cache_folder() == Path("/d")


def test_a_cache_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DOOR_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="set DOOR_CACHE"):
        cache.packs_folder()


def test_a_replacement_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "pack"
    target.mkdir()
    (target / "old").write_text("old")

    def fail() -> None:
        with cache.replacing(target) as fresh:
            (fresh / "new").write_text("half")
            raise ModelMismatch("the test of it failed")

    with pytest.raises(ModelMismatch):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    assert [path.name for path in target.iterdir()] == ["old"]


def test_what_a_killed_build_left_behind_is_swept_away(tmp_path: Path) -> None:
    for name in (".new-x", ".old-x", ".work-x", "pack"):
        (tmp_path / name).mkdir()
    with cache.builder_lock(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "pack"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    target = tmp_path / "pack"

    def fill() -> None:
        with cache.replacing(target), open("/dev/full", "wb", buffering=0) as stream:
            stream.write(b"x")

    with pytest.raises(StoreError, match="free space"):
        fill()
    assert not target.exists()
    assert issubclass(StoreError, TerminalError)


def test_the_portrait_is_the_pinned_one() -> None:
    assert sha(archives.portrait()) == archives.SCIKIT_IMAGE.members["portrait"].sha256

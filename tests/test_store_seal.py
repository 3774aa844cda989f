"""The seal: what opens, what does not, where the key comes from, and that it never shows."""

import os
import pickle
import threading

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from store_samples import KEY

from device.errors import SealBroken
from device.store.places import make_folders, places
from device.store.seal import Sealer, load_key


def here(tmp_path):
    where = places({"DOOR_STATE": str(tmp_path / "state")})
    make_folders(where)
    return where


def test_a_sealed_body_opens_and_no_two_seals_are_alike():
    sealer = Sealer(KEY)
    first, second = sealer.seal(b"body", "person", "p1"), sealer.seal(b"body", "person", "p1")
    assert first != second
    assert b"body" not in first
    assert sealer.unseal(first, "person", "p1") == sealer.unseal(second, "person", "p1") == b"body"


def test_every_flipped_bit_and_every_other_binding_is_refused():
    sealer = Sealer(KEY)
    sealed = sealer.seal(b"some body", "template", "t1", "p1", "m1")
    for bit in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            sealer.unseal(bytes(altered), "template", "t1", "p1", "m1")
    for bound in (("person", "t1", "p1", "m1"), ("template", "t2", "p1", "m1"), ("template", "t1", "p2", "m1"),
                  ("template", "t1", "p1", "m2"), ("template", "t1p1", "m1"), ("template", "t1", "p1")):
        with pytest.raises(SealBroken):
            sealer.unseal(sealed, *bound)
    for short in (b"", sealed[:11], sealed[:27], sealed[:-1]):
        with pytest.raises(SealBroken):
            sealer.unseal(short, "template", "t1", "p1", "m1")


def test_derived_keys_are_hkdf_and_differ_by_purpose():
    expected = HKDF(hashes.SHA256(), 32, None, b"door records").derive(bytes(range(32)))
    assert KEY.derive("records") == expected
    assert KEY.derive("finders") != expected


def test_a_key_shows_in_no_repr_and_is_not_pickled():
    assert repr(KEY) == str(KEY) == "Key(secret)"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


def test_the_first_start_makes_a_private_key_that_stays(tmp_path):
    where = here(tmp_path)
    made = load_key(where, {"DOOR_STATE": "x"})
    assert where.key.stat().st_mode & 0o777 == 0o600
    assert len(where.key.read_bytes()) == 32
    assert load_key(where, {"DOOR_STATE": "x"}).derive("x") == made.derive("x")
    assert [path.name for path in where.root.iterdir() if path.is_file()] == ["terminal.key"]


def test_processes_that_make_the_key_together_agree_on_one(tmp_path):
    where, found = here(tmp_path), []
    threads = [threading.Thread(target=lambda: found.append(load_key(where, {"DOOR_STATE": "x"}).derive("x")))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_service_managers_credential_comes_first(tmp_path):
    where = here(tmp_path)
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "terminal-key").write_bytes(bytes(range(32)))
    key = load_key(where, {"DOOR_STATE": "x", "CREDENTIALS_DIRECTORY": str(folder)})
    assert key.derive("x") == KEY.derive("x")
    assert not where.key.exists()


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_key_of_the_wrong_length_is_refused_and_not_shown(tmp_path, content):
    where = here(tmp_path)
    where.key.write_bytes(content)
    where.key.chmod(0o600)
    with pytest.raises(SealBroken, match="32 bytes") as caught:
        load_key(where, {"DOOR_STATE": "x"})
    assert "short" not in str(caught.value)


def test_a_key_that_others_may_read_is_refused(tmp_path):
    where = here(tmp_path)
    load_key(where, {"DOOR_STATE": "x"})
    where.key.chmod(0o640)
    with pytest.raises(SealBroken, match="chmod 600"):
        load_key(where, {"DOOR_STATE": "x"})


def test_a_gallery_without_its_key_gets_no_fresh_key(tmp_path):
    where = here(tmp_path)
    where.gallery_db.touch()
    with pytest.raises(SealBroken, match="put the key back"):
        load_key(where, {"DOOR_STATE": "x"})
    assert not where.key.exists()


def test_state_lies_where_door_state_says(tmp_path, monkeypatch):
    monkeypatch.setenv("DOOR_STATE", str(tmp_path))
    where = places()
    assert where.journal_db == tmp_path / "journal" / "journal.db"
    assert str(places({}).gallery_db) == "/var/lib/door/gallery/gallery.db"
    before = os.umask(0o077)
    try:
        make_folders(where)
    finally:
        os.umask(before)
    assert where.gallery_db.parent.stat().st_mode & 0o7777 == 0o2770
    make_folders(where)

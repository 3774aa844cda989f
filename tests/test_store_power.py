"""Power cuts: whatever the medium had not been told to keep may be gone, in part or out of order. What was
acknowledged is there all the same.

A VFS writes to a medium that forgets: at a cut (DOOR_CUTS of them), every write since the file's last sync is kept,
dropped or torn at sectors, by chance. The journal's own code writes through it, and the product's own start reads
what is left.
"""

import contextlib
import os
import random
import shutil

import apsw
import pytest
from store_samples import BOOT, release

from device.clock import HandClock
from device.store import sqlite
from device.store.journal import Journal
from device.store.sqlite import WriterLock

SECTOR = 512
CUTS = int(os.environ.get("DOOR_CUTS", "60"))


class Medium:
    """Files as they are durably, and the writes that are still under way."""

    def __init__(self):
        self.durable, self.pending, self.steps = {}, {}, 0
        self.watch = lambda: None

    def write(self, name, offset, data):
        self.pending.setdefault(name, []).append((offset, bytes(data)))
        self._step()

    def sync(self, name):
        self.durable[name] = self._with(name, lambda: True)
        self.pending[name] = []
        self._step()

    def after_cut(self, chance):
        """Contents of all files when the power went now."""
        return {name: self._with(name, lambda: chance.random() < 0.5)
                for name in self.durable.keys() | self.pending.keys()}

    def _with(self, name, is_kept):
        image = bytearray(self.durable.get(name, b""))
        for offset, data in self.pending.get(name, []):
            for start in range(0, len(data), SECTOR):
                if is_kept():
                    part, at = data[start:start + SECTOR], offset + start
                    image.extend(bytes(max(at + len(part) - len(image), 0)))
                    image[at:at + len(part)] = part
        return bytes(image)

    def _step(self):
        self.steps += 1
        self.watch()


class ForgetfulFile(apsw.VFSFile):
    def __init__(self, name, flags, medium):
        self._name = str(name.filename() if hasattr(name, "filename") else name).rsplit("/", 1)[-1]
        self._medium = medium
        super().__init__("", name, flags)

    def xWrite(self, data, offset):
        self._medium.write(self._name, offset, data)
        super().xWrite(data, offset)

    def xSync(self, flags):
        self._medium.sync(self._name)


class ForgetfulDisk(apsw.VFS):
    def __init__(self, name, medium):
        self._medium = medium
        super().__init__(name, "")

    def xOpen(self, name, flags):
        return ForgetfulFile(name, flags, self._medium)


class Adapter:
    """As much of sqlite_utils.Database as the journal uses, over an apsw connection."""

    def __init__(self, connection):
        self.conn, self.execute = connection, connection.execute

    @contextlib.contextmanager
    def atomic(self):
        with self.conn:
            yield


@pytest.mark.timeout(120 + CUTS)
def test_no_acknowledged_entry_is_lost_by_a_power_cut(tmp_path, figure):
    cuts, seed = 0, 0
    while cuts < CUTS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        cuts += cut_often(folder, seed)
        shutil.rmtree(folder)
        seed += 1
    figure("F3", f"{cuts} power cuts while the journal was written: 0 acknowledged entries lost, 0 corrupt")


def cut_often(tmp_path, seed):
    """One journal that is written to; how often the power went, and each time all was well."""
    medium, chance = Medium(), random.Random(seed)
    disk = ForgetfulDisk(f"forgetful{seed}", medium)
    path = tmp_path / "journal.db"
    Journal.open(path, HandClock(), BOOT).close()
    medium.durable["journal.db"] = path.read_bytes()
    connection = apsw.Connection(str(path), vfs=f"forgetful{seed}")
    sqlite._set_pragmas(connection, path, 100)
    connection.execute("PRAGMA wal_autocheckpoint=20")
    acknowledged, cuts = 0, []

    def maybe_cut():
        if chance.random() < 0.04:
            cuts.append((acknowledged, medium.after_cut(chance)))

    medium.watch = maybe_cut
    lock = WriterLock(tmp_path / "other")
    journal = Journal(path, Adapter(connection), HandClock(), BOOT, lock)
    for number in range(120):
        acknowledged = journal.append(release(number)).seq
    medium.watch = lambda: None
    hashes = [entry.hash for entry in journal.entries()]
    journal.close()
    assert len(cuts) > 15
    for count, (known, files) in enumerate(cuts):
        folder = tmp_path / str(count)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        again = Journal.open(folder / "journal.db", HandClock(), BOOT)
        assert again.set_aside is None
        assert again.verify() == again.head
        assert again.head >= known
        assert [entry.hash for entry in again.entries()] == hashes[:again.head]
        again.close()
    assert disk is not None
    return len(cuts)

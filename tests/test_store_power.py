"""Power cuts: whatever the medium had not been told to keep may be gone, in part or out of order. What was
acknowledged is there all the same.

DOOR_CUTS sets how often. The stores' own code writes through a disk that forgets, and the product's own start reads
what is left.
"""

import os
import random
import shutil

import pytest
from fault_figures import Figure
from forgetful_disk import Medium, forgetful, lay_out
from store_samples import BOOT, KEY, MODEL, enrolled, person, release, template

from device.clock import HandClock
from device.store.cache import open_slots
from device.store.cache_writer import CacheWriter
from device.store.journal import Journal
from device.store.seal import Sealer
from device.store.sqlite import WriterLock

CUTS = int(os.environ.get("DOOR_CUTS", "60"))
BLOCK = 4  # people put by each page, and dropped by a later one
PAGES = 60
Cuts = list[tuple[int, dict[str, bytes]]]


def cuts_of(medium: Medium, chance: random.Random, often: float, acknowledged: list[int]) -> Cuts:
    """Fills itself while the medium is written to: what was acknowledged at each cut, and what it left."""
    cuts: Cuts = []

    def maybe_cut() -> None:
        if chance.random() < often:
            cuts.append((acknowledged[0], medium.after_cut(chance)))

    medium.watch = maybe_cut
    return cuts


@pytest.mark.timeout(120 + 2 * CUTS)
def test_no_acknowledged_entry_is_lost_by_a_power_cut(tmp_path, figure: Figure):
    cuts = {"journal": 0, "gallery": 0}
    for store, cut_often in (("journal", cut_journal), ("gallery", cut_gallery)):
        seed = 0
        while cuts[store] < CUTS:
            folder = tmp_path / f"{store}{seed}"
            folder.mkdir()
            cuts[store] += cut_often(folder, seed)
            shutil.rmtree(folder)
            seed += 1
    figure("F3", f"{cuts['journal']} power cuts while the journal was written, {cuts['gallery']} while the gallery "
                 "was: 0 acknowledged entries or pages lost, 0 corrupt")


def cut_journal(tmp_path, seed):
    """One journal that is written to; how often the power went, and each time all was well."""
    medium, acknowledged = Medium(), [0]
    path = tmp_path / "journal.db"
    Journal.open(path, HandClock(), BOOT).close()
    with forgetful(path, medium) as disk:
        cuts = cuts_of(medium, random.Random(seed), 0.04, acknowledged)
        journal = Journal(path, disk, HandClock(), BOOT, WriterLock(tmp_path / "other"))
        for number in range(120):
            acknowledged[0] = journal.append(release(number)).seq
        medium.watch = lambda: None
        hashes = [entry.hash for entry in journal.entries()]
        journal.close()
    assert len(cuts) > 15
    for count, (known, files) in enumerate(cuts):
        folder = tmp_path / str(count)
        lay_out(files, folder)
        again = Journal.open(folder / "journal.db", HandClock(), BOOT)
        assert again.set_aside is None
        assert again.verify() == again.head
        assert again.head >= known
        assert [entry.hash for entry in again.entries()] == hashes[:again.head]
        again.close()
        shutil.rmtree(folder)
    return len(cuts)


def cut_gallery(tmp_path, seed):
    """One gallery into which pages are written, some of which remove people, so that the file is written anew in
    between; how often the power went, and each time what was left was a whole page's end."""
    medium, acknowledged = Medium(), [0]
    path = tmp_path / "gallery.db"
    enrolled(path, 0).close()
    with forgetful(path, medium) as disk:
        cuts = cuts_of(medium, random.Random(seed), 0.01, acknowledged)
        writer = CacheWriter(path, disk, Sealer(KEY), open_slots(disk, KEY, path), HandClock(),
                             WriterLock(tmp_path / "other"))
        for seq in range(1, PAGES + 1):
            write_page(writer, seq)
            acknowledged[0] = seq
        medium.watch = lambda: None
        writer.close()
    assert len(cuts) > 15
    for count, (known, files) in enumerate(cuts):
        folder = tmp_path / str(count)
        lay_out(files, folder)
        again = CacheWriter.open(folder / "gallery.db", KEY, HandClock())
        assert again.set_aside is None
        found = again.cursor("all")
        seq = found[1] if found else 0
        assert seq >= known
        expected = people_after(seq)
        assert {one.person_id for one in again.people()} == expected
        columns = again.columns(MODEL)
        assert (set(columns.person_ids), columns.rejected) == (expected, ())
        again.close()
        shutil.rmtree(folder)
    return len(cuts)


def write_page(writer, seq):
    with writer.together():
        for number in range(seq * BLOCK, seq * BLOCK + BLOCK):
            writer.put_person(person(number))
            writer.put_template(template(number))
        if seq % 5 == 0:
            for number in range((seq - 4) * BLOCK, (seq - 2) * BLOCK):
                writer.drop_person(person(number).person_id)
        writer.set_cursor("all", "e", seq, b"")


def people_after(seq):
    """Who is in the gallery when pages 1 to `seq` are applied."""
    gone = {number for page in range(5, seq + 1, 5) for number in range((page - 4) * BLOCK, (page - 2) * BLOCK)}
    return {person(number).person_id for number in set(range(BLOCK, (seq + 1) * BLOCK)) - gone}

"""A disk that is full, read-only or failing: the door goes on, nothing that was noted is lost without a word.

Small file systems are mounted in a namespace of the test's own, where the kernel allows it.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PREAMBLE = """
    import json, os, subprocess, sys
    from pathlib import Path
    from store_samples import BOOT, KEY, MODEL, enrolled, person, release, template
    from device.clock import HandClock
    from device.errors import StoreError
    from device.store.cache import CacheReader
    from device.store.cache_writer import CacheWriter
    from device.store.journal import Journal, JournalReader
    from device.store.keeper import JournalKeeper
    disk = Path(sys.argv[1])
    def mount(*options):
        subprocess.run(["mount", "-t", "tmpfs", *options, "none", str(disk)], check=True)
    def fill():
        with open(disk / "junk", "ab", buffering=0) as junk:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        junk.write(bytes(size))
                except OSError:
                    pass
"""


def on_a_small_disk(tmp_path, script):
    """Run a script that may mount file systems on `disk`; what it prints last, read as JSON."""
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True,
                           check=False)
    if probe.returncode:
        pytest.skip("no mount namespaces here: small file systems cannot be made")
    here = Path(__file__).parent
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", textwrap.dedent(PREAMBLE) + textwrap.dedent(script), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_full_disk_uses_the_reserve_then_memory_and_loses_nothing(tmp_path, figure):
    found = on_a_small_disk(tmp_path, """
        mount("-o", "size=8m")
        path = disk / "journal.db"
        keeper = JournalKeeper(lambda: Journal.open(path, HandClock(), BOOT), HandClock())
        before = [keeper.append(release(number)).seq for number in range(100)]
        calm = keeper.is_degraded
        fill()
        on_reserve = []
        while (entry := keeper.append(release())) is not None:
            on_reserve.append(entry.seq)
            reserve_alarm = keeper.is_degraded
        for number in range(299):
            assert keeper.append(release()) is None
        waiting, error = keeper.waiting, str(keeper.error)
        still_full = keeper.retry()
        (disk / "junk").unlink()
        written = keeper.retry()
        keeper.append(release())
        journal = keeper.journal
        print(json.dumps({"reserve": len(on_reserve), "calm": calm, "reserve_alarm": reserve_alarm, "error": error,
                          "waiting": waiting, "still_full": still_full, "written": written, "lost": keeper.lost,
                          "head": journal.head, "verified": journal.verify(), "degraded": keeper.is_degraded}))
    """)
    assert found["reserve"] > 1000
    assert not found["calm"]
    assert found["reserve_alarm"]
    assert "disk is full" in found["error"]
    assert (found["waiting"], found["still_full"], found["written"], found["lost"]) == (300, 0, 300, 0)
    assert found["head"] == found["verified"] == 100 + found["reserve"] + 300 + 1
    assert not found["degraded"]
    figure("F6", f"a full disk: {found['reserve']} entries into the reserve, {found['waiting']} in memory and "
                 "written once there was room, 0 lost")


def test_a_full_disk_refuses_to_enrol_but_not_to_remove(tmp_path):
    found = on_a_small_disk(tmp_path, """
        mount("-o", "size=8m")
        writer = enrolled(disk / "gallery.db", 50)
        fill()
        lines = []
        for number in range(50, 5000):
            try:
                writer.put_person(person(number))
            except StoreError as error:
                lines.append(str(error))
                break
        count = writer.people_count()
        sealed = writer._db.conn.execute("SELECT sealed FROM templates WHERE person_id = ?",
                                         [person(1).person_id]).fetchone()[0]
        dropped = writer.drop_person(person(1).person_id)
        if writer.is_erasure_due:
            (disk / "junk").unlink()
            writer.erase()
        raw = b"".join(file.read_bytes() for file in disk.iterdir())
        print(json.dumps({"lines": lines, "same": count == number, "templates": len(writer.columns(MODEL)),
                          "dropped": dropped, "due": writer.is_erasure_due, "left": sealed in raw}))
    """)
    assert found["lines"] == [f"{tmp_path}/gallery.db: the disk is full; free some space"]
    assert found["same"]
    assert found["dropped"]
    assert not found["due"]
    assert not found["left"]
    assert found["templates"] == 49


def test_a_key_that_cannot_be_made_leaves_nothing_behind(tmp_path):
    found = on_a_small_disk(tmp_path, """
        from device.errors import SealBroken
        from device.store.places import make_folders, places
        from device.store.seal import load_key
        mount("-o", "size=1m")
        where = places({"DOOR_STATE": str(disk)})
        make_folders(where)
        fill()
        lines = []
        for _ in range(3):
            try:
                load_key(where, {"DOOR_STATE": str(disk)})
            except SealBroken as error:
                lines.append(str(error))
        left = [path.name for path in disk.iterdir() if path.is_file()]
        (disk / "junk").unlink()
        load_key(where, {"DOOR_STATE": str(disk)})
        print(json.dumps({"lines": lines, "left": left, "made": len(where.key.read_bytes())}))
    """)
    assert found["lines"] == [f"{tmp_path}/terminal.key: the terminal's key cannot be made: No space left on "
                              "device"] * 3
    assert (found["left"], found["made"]) == (["junk"], 32)


@pytest.mark.parametrize("size", ["2m", "200k"], ids=["under way", "from the beginning"])
def test_a_full_disk_is_not_taken_for_a_lost_network(tmp_path, size):
    found = on_a_small_disk(tmp_path, f"""
        import hashlib, zipfile
        from device.packs import archives, fetch
        about = "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n"
        name = "small-1.0-py3-none-any.whl"
        source = disk / "source"
        source.mkdir()
        with zipfile.ZipFile(source / name, "w") as wheel:
            wheel.writestr("small/it", os.urandom(3_000_000))
            for part, text in (("METADATA", about), ("WHEEL", "Wheel-Version: 1.0\\n"), ("RECORD", "")):
                wheel.writestr(f"small-1.0.dist-info/{{part}}", text)
        data = (source / name).read_bytes()
        os.environ |= {{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(source), "DOOR_CACHE": str(disk / "cache")}}
        archive = archives.Archive(name, len(data), hashlib.sha256(data).hexdigest(),
                                   fetch.Wheel("small==1.0", "any", "3.11"), {{}})
        (disk / "cache").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size={size}", "none", str(disk / "cache")], check=True)
        try:
            archives.obtain(archive)
        except StoreError as error:
            print(json.dumps(str(error)))
    """)
    assert "No space left on device" in found
    assert "free space there" in found
    assert "network" not in found


def test_a_read_only_disk_is_read_and_refuses_to_be_written_in_one_line(tmp_path):
    found = on_a_small_disk(tmp_path, """
        mount("-o", "size=8m")
        enrolled(disk / "gallery.db", 5).close()
        journal = Journal.open(disk / "journal.db", HandClock(), BOOT)
        journal.append(release())
        journal.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        reader, entries = CacheReader.open(disk / "gallery.db", KEY), JournalReader.open(disk / "journal.db")
        lines = []
        for opener in (lambda: CacheWriter.open(disk / "gallery.db", KEY, HandClock()),
                       lambda: Journal.open(disk / "journal.db", HandClock(), BOOT),
                       lambda: Journal.open(disk / "other.db", HandClock(), BOOT)):
            try:
                opener()
            except StoreError as error:
                lines.append(str(error))
        keeper = JournalKeeper(lambda: Journal.open(disk / "journal.db", HandClock(), BOOT), HandClock())
        keeper.append(release())
        degraded = keeper.is_degraded
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        written = keeper.retry()
        print(json.dumps({"templates": len(reader.columns(MODEL)), "entries": entries.verify(), "lines": lines,
                          "degraded": degraded, "written": written, "head": keeper.journal.head}))
    """)
    assert (found["templates"], found["entries"]) == (5, 1)
    assert len(found["lines"]) == 3
    assert all("ead-only" in line and "\n" not in line for line in found["lines"])
    assert found["degraded"]
    assert (found["written"], found["head"]) == (1, 2)


def test_a_disk_that_fails_under_way_is_noticed_and_recovered_from(tmp_path):
    found = on_a_small_disk(tmp_path, """
        import resource
        keeper = JournalKeeper(lambda: Journal.open(disk / "journal.db", HandClock(), BOOT), HandClock())
        keeper.append(release())
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        waits = keeper.append(release()) is None
        degraded, error = keeper.is_degraded, str(keeper.error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        written = keeper.retry()
        print(json.dumps({"waits": waits, "degraded": degraded, "written": written, "error": error,
                          "verified": keeper.journal.verify(), "calm": keeper.error is None}))
    """)
    assert (found["waits"], found["degraded"], found["written"], found["verified"]) == (True, True, 1, 2)
    assert "the disk fails" in found["error"]
    assert found["calm"]

"""Import: hostile lists and zips, one report line per picture, going on where it stopped."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hub_samples import jpeg, open_hub
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock
from device.errors import PictureRefused, TerminalError, UsageError
from sync.hub.commands.imports import guarded, write_report
from sync.hub.hub import open_eye
from sync.hub.importing import Importer, Outcome, read_csv, rows_of_folder
from sync.hub.pictures import Folder, Zip

HEAD = "name,photo,id,consent_id,consent_given,consent_means\n"
CONSENT = "2026-01-01,paper"


def line(name, photo, an_id="", consent="c1"):
    return f"{name},{photo},{an_id},{consent},{CONSENT}\n"


@pytest.fixture(scope="module")
def eye(pack):
    return open_eye()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, eye):
    made = open_hub(tmp_path / "hub", tmp_path_factory, HandClock())
    made.enroller._make_eye = lambda: eye
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path, portrait):
    where = tmp_path / "pictures"
    where.mkdir()
    (where / "a.jpg").write_bytes(jpeg(portrait))
    (where / "b.jpg").write_bytes(jpeg(portrait[:, ::-1]))
    (where / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "outside.jpg").write_bytes(jpeg(portrait))
    (where / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    return where


def work(hub, rows, pictures, groups=("staff",)):
    return list(Importer(hub.storage, hub.vault, hub.people, hub.enroller, hub.clock).run(rows, pictures, groups))


@pytest.mark.parametrize("write", [
    lambda text: text.encode(), lambda text: text.encode("utf-8-sig"), lambda text: text.encode("gbk"),
    lambda text: text.encode("utf-16"), lambda text: text.replace("\n", "\r\n").encode("gbk"),
    lambda text: text.replace(",", ";").encode(), lambda text: text.replace(",", "\t").encode("utf-8-sig"),
    lambda text: text.replace("\n", "\r").encode()])
def test_a_list_is_read_however_it_was_saved(write):
    text = ("姓名,照片,工号,同意书编号,同意时间,同意方式\n" + line("李伟", "李伟.jpg", "0017") + "\n"
            + line("王芳", "w.jpg", "18", "c2"))
    rows = read_csv(write(text))
    assert [(row.line, row.cells["name"], row.cells["id"], row.photos) for row in rows] == [
        (2, "李伟", "0017", ("李伟.jpg",)), (4, "王芳", "18", ("w.jpg",))]


@pytest.mark.parametrize(("text", "word"), [
    ("", "lacks the columns name"), ("name,photo\nx,y\n", "consent_id"),
    (HEAD.replace("id,", "rights,", 1) + line("a", "b"), "'rights'"), (HEAD.replace("id,", "name,", 1), "twice"),
    (HEAD + "only,two\n", "line 2"), (HEAD + line("x" * 1001, "a.jpg"), "1000 characters"),
    (HEAD + line("a", "a.jpg", "7") + line("b", "b.jpg", "7", "c2"), "lines 2 and 3 .* same id"),
    (HEAD + line("a", "a.jpg", "7") + line("b", "b.jpg", "8"), "lines 2 and 3 .* same consent_id"),
    (HEAD + 'a,"b\n', "line"), (HEAD + "a\x00,b,,c,d,e\n", "zero bytes")])
def test_a_list_that_is_not_in_order_is_refused_whole(text, word):
    with pytest.raises(UsageError, match=word):
        read_csv(text.encode())
    with pytest.raises(UsageError):
        read_csv(b"\xff\xfe\x00\xd8" + b"\x81")


def test_each_picture_has_its_line_and_a_second_run_does_nothing_twice(hub, folder):
    rows = read_csv((HEAD + line("CANARY Li", "a.jpg", "1", "c1") + line("Twin", "b.jpg", "2", "c2")
                     + line("Gone", "nosuch.jpg", "3", "c3") + line("Bad", "bad.jpg", "4", "c4")
                     + line("Out", "../outside.jpg", "5", "c5") + line("Link", "link.jpg", "6", "c6")
                     + line("None", "", "7", "c7")).encode())
    done = work(hub, rows, Folder(folder))
    assert [(one.line, one.state) for one in done] == [(2, "enrolled"), *((n, "refused") for n in range(3, 9))]
    for one, word in zip(done[1:], ("enrolled already, as CANARY Li", "no such picture", "not a JPEG",
                                    "no such picture", "no such picture", "1 to 20 photos"), strict=True):
        assert word in one.reason
    assert hub.people.count() == 1
    seq = hub.ledger.head("group/staff").seq
    again = work(hub, rows, Folder(folder))
    assert [one.state for one in again] == ["skipped"] + ["refused"] * 6
    assert again[0].person_id == done[0].person_id
    assert hub.ledger.head("group/staff").seq == seq
    hub.people.remove([done[0].person_id])
    assert [one.state for one in work(hub, rows[:2], Folder(folder))] == ["enrolled", "refused"]


@pytest.mark.parametrize(("changes", "word"), [
    ({"name": "=cmd|' /C calc'!A0"}, "formula"), ({"id": "@SUM(A1)"}, "formula"), ({"name": ""}, "printable"),
    ({"consent_given": ""}, "no consent"), ({"consent_means": ""}, "no consent"),
    ({"consent_given": "31.12.2025"}, "consent_given is no date"), ({"consent_given": "2099-01-01"}, "future"),
    ({"consent_given": "2025-02-30"}, "no date"), ({"consent_until": "2026-01-02"}, "ended"),
    ({"valid_from": "2027-01-01", "valid_until": "2026-06-01"}, "valid_until"), ({"groups": "nosuch"}, "nosuch"),
    ({"groups": ";"}, None), ({"consent_id": "x\x07"}, "consent_id"), ({"consent_id": "=1+1"}, "formula"),
    ({"consent_means": "=paper"}, "formula"), ({"consent_text": "@x"}, "formula"), ({"groups": "+x"}, "formula"),
    ({"consent_means": "telepathy"}, "consent.means"), ({"consent_id": "c" * 65}, "consent_id"),
    ({"consent_until": "9999-12-31"}, "consent_until: must lie between"),
    ({"valid_from": "1969-01-01"}, "valid_from: must lie between"),
    ({"consent_means": "纸质"}, None), ({"consent_means": "Paper"}, None)])
def test_a_bad_cell_refuses_its_row_alone_and_leaves_nothing(hub, folder, changes, word):
    cells = {"name": "Li", "id": "1", "consent_id": "c1", "consent_given": "2026-01-01", "consent_means": "paper"}
    row = read_csv((HEAD + line("Li", "a.jpg", "1")).encode())[0]
    bad = type(row)(2, {**cells, **changes}, row.photos)
    done = work(hub, [bad], Folder(folder))
    if word is None:
        assert done[0].state == "enrolled"
        return
    assert done[0].state == "refused"
    assert word in done[0].reason
    assert (hub.people.count(), hub.ledger.head("group/staff").seq) == (0, 0)
    assert work(hub, [row], Folder(folder))[0].state == "enrolled"


def test_dates_are_read_as_people_write_them(hub, folder):
    for number, text in enumerate(("2026-1-2", "2026/01/02", "2026.1.2 08:30", "2026-01-02T08:30:00+08:00",
                                   "2026/1/3 8:30", "2026-01-02 00:30Z")):
        row = read_csv((HEAD + line("Li", "a.jpg", str(number)).replace("2026-01-01", text)).encode())[0]
        done = work(hub, [row], Folder(folder))
        assert done[0].state == "enrolled", done[0].reason
        hub.people.remove([done[0].person_id])


def test_a_list_records_what_this_hub_does_with_pictures(hub, folder):
    rows = read_csv((HEAD + line("Li", "a.jpg", "1")).encode())
    hub.enroller._keep_photos = True
    done = work(hub, rows, Folder(folder))[0]
    agreed = hub.people.get(done.person_id).person.consent
    assert (agreed.kinds[0], agreed.text_version) == ("face picture (kept, sealed)", "fleet-1-pictures")
    assert hub.people.photo(hub.people.get(done.person_id).template_ids[0]) == (folder / "a.jpg").read_bytes()


def test_a_folder_is_one_person_per_picture_or_per_folder(hub, folder):
    rows = rows_of_folder(["Li Wei.jpg", "sub/王芳/1.JPG", "sub/王芳/2.png", "notes.txt"], {"consent_means": "paper"})
    assert [(row.cells["name"], row.photos) for row in rows] == [
        ("Li Wei", ("Li Wei.jpg",)), ("王芳", ("sub/王芳/1.JPG", "sub/王芳/2.png"))]
    with pytest.raises(UsageError, match="no picture"):
        rows_of_folder(["notes.txt"], {})
    shared = {"consent_given": "2026-01-01", "consent_means": "paper"}
    first = work(hub, rows_of_folder(["a.jpg"], shared), Folder(folder))
    again = work(hub, rows_of_folder(["a.jpg"], shared), Folder(folder))
    assert (first[0].state, again[0].state) == ("enrolled", "skipped")
    assert work(hub, rows_of_folder(["a.jpg"], {}), Folder(folder))[0].state == "refused"


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def test_a_zip_is_read_in_place(hub, tmp_path, portrait):
    pictures = Zip(zipped(tmp_path / "p.zip", {"sub/a.jpg": jpeg(portrait)}))
    row = read_csv((HEAD + line("Li", "sub\\a.jpg")).encode())
    assert work(hub, row, pictures)[0].state == "enrolled"
    with pytest.raises(PictureRefused, match="no such picture"):
        pictures.read("/etc/passwd")
    pictures.close()


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "a/../../b.jpg", "C:\\x.jpg", "..\\x.jpg"])
def test_a_zip_that_names_files_outside_itself_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="outside"):
        Zip(zipped(tmp_path / "p.zip", {name: b"x"}))


def test_bombs_locked_and_damaged_zips_are_refused(tmp_path, portrait):
    bomb = Zip(zipped(tmp_path / "bomb.zip", {"a.jpg": bytes(50_000_000), "b.jpg": bytes(15_000_000)}))
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(PictureRefused, match="far too much"):
            bomb.read(name)
    data = bytearray(zipped(tmp_path / "c.zip", {"a.jpg": jpeg(portrait)}).read_bytes())
    data[200:260] = b"\xff" * 60
    (tmp_path / "c.zip").write_bytes(data)
    with pytest.raises(PictureRefused, match="damaged"):
        Zip(tmp_path / "c.zip").read("a.jpg")
    # A size that lies: the reading stops at what it states, and its checksum does not hold.
    lying = bytearray(zipped(tmp_path / "d.zip", {"a.jpg": bytes(range(256)) * 400}).read_bytes())
    at = lying.index(b"PK\x01\x02")
    lying[at + 24:at + 28] = struct.pack("<I", 10)
    (tmp_path / "d.zip").write_bytes(lying)
    with pytest.raises(PictureRefused, match="damaged"):
        Zip(tmp_path / "d.zip").read("a.jpg")
    for content in (b"", b"not a zip"):
        (tmp_path / "e.zip").write_bytes(content)
        with pytest.raises(UsageError, match="zip"):
            Zip(tmp_path / "e.zip")


def test_names_in_gbk_inside_a_zip_are_found(tmp_path):
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as file:
        file.writestr("xxxx.jpg", b"one")
    data = raw.getvalue().replace(b"xxxx.jpg", "李伟".encode("gbk") + b".jpg")
    (tmp_path / "g.zip").write_bytes(data)
    assert Zip(tmp_path / "g.zip").read("李伟.jpg") == b"one"


def test_the_report_holds_no_formula(tmp_path):
    write_report(tmp_path / "r.csv", [Outcome(2, "=evil.jpg", "refused", "+x"), Outcome(3, "李.jpg", "enrolled")])
    text = (tmp_path / "r.csv").read_bytes().decode("utf-8-sig")
    assert "'=evil.jpg" in text
    assert "'+x" in text
    assert "李.jpg" in text
    assert [guarded(value) for value in ("a", "-1", None, 3)] == ["a", "'-1", "", "3"]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: (HEAD + text).encode())))
def test_whatever_a_list_holds_it_is_read_or_refused_in_one_line(data):
    try:
        read_csv(data)
    except TerminalError as error:
        assert "\n" not in str(error)

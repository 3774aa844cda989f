"""Lists and folders of pictures: hostile bytes, missing files, and that the run goes on."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.errors import UsageError
from device.evaluate.inputs import (
    Remarks,
    parse_where,
    people_of_folders,
    pictures_below,
    read_boxes,
    read_pairs,
    read_people,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in ("ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not looked into here")
    return folder


def listed(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_pairs_survive_windows_line_ends_and_a_byte_order_mark(tmp_path, root):
    remarks = Remarks()
    path = listed(tmp_path, b"\xef\xbb\xbffold,same,a,b\r\n1,1,ann/1.jpg,ann\\2.jpg\r\n"
                            b"2,0,ann/1.jpg,bob/1.jpg\r\n\r\n")
    pairs = read_pairs(path, root, remarks)
    assert [(pair.fold, pair.is_same, pair.a, pair.b) for pair in pairs] == [
        ("1", True, "ann/1.jpg", "ann/2.jpg"), ("2", False, "ann/1.jpg", "bob/1.jpg")]
    assert remarks.lines == []


def test_a_missing_picture_is_named_once_and_the_run_goes_on(tmp_path, root):
    remarks = Remarks()
    path = listed(tmp_path, "same,a,b\n1,ann/1.jpg,ann/9.jpg\n1,ann/9.jpg,ann/2.jpg\n0,ann/1.jpg,bob/1.jpg\n")
    assert len(read_pairs(path, root, remarks)) == 1
    assert remarks.missing == {"ann/9.jpg"}
    assert remarks.lines == ["ann/9.jpg: no such picture (first named in list.csv:2); left out"]


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "ann/../../x.jpg", "..\\x.jpg", "", ".",
                                  "a\0b.jpg"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, root, name):
    (tmp_path / "secret.jpg").write_bytes(b"x")
    remarks = Remarks()
    path = listed(tmp_path, f'image,person\n"{name}",eve\nann/1.jpg,ann\n'.encode())
    try:
        rows = read_people(path, root, remarks)
    except UsageError as error:  # Python 3.10's csv takes a NUL for no CSV at all
        assert "NUL" in str(error)
        return
    assert [row.image for row in rows] == ["ann/1.jpg"]
    assert len(remarks.lines) == 1
    assert "\0" not in remarks.lines[0]


@pytest.mark.parametrize(("text", "word"), [
    (b"", "empty"),
    (b"\n\n", "empty"),
    (b"a,b\nann/1.jpg,ann/2.jpg\n", "no column same"),
    (b"same;a;b\n1;ann/1.jpg;ann/2.jpg\n", "no column same"),
    (b"same,a,b,a\n", "named twice"),
    (b"same,a,b\n", "not one usable pair"),
    (b"\xff\xfe\x00s", "UTF-8"),
    (b'same,a,b\n1,"' + b"x" * 200_000, "not CSV"),
])
def test_a_list_that_cannot_be_used_is_one_line_with_its_name(tmp_path, root, text, word):
    with pytest.raises(UsageError, match=word) as caught:
        read_pairs(listed(tmp_path, text), root, Remarks())
    assert "list.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_list_or_a_folder_in_its_place_is_one_line(tmp_path, root):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_pairs(path, root, Remarks())


def test_unknown_columns_and_wrong_rows_are_one_line_each(tmp_path, root):
    remarks = Remarks()
    path = listed(tmp_path, "same,a,b,mood\n1,ann/1.jpg,ann/2.jpg,gay\nmaybe,ann/1.jpg,bob/1.jpg,\n1,ann/1.jpg\n"
                            "1,ann/1.jpg,ann/1.jpg,\n")
    assert len(read_pairs(path, root, remarks)) == 1
    assert [line.split(":")[0:2] for line in remarks.lines] == [
        ["list.csv", " columns not used"], ["list.csv", "3"], ["list.csv", "4"], ["list.csv", "5"]]


def test_people_are_chosen_by_column_and_value(tmp_path, root):
    path = listed(tmp_path, "image,label,subject\nann/1.jpg,live,7\nann/2.jpg,print,7\nbob/1.jpg,live,8\n")
    rows = read_people(path, root, Remarks(), person_column="subject", where={"label": "live"})
    assert [(row.person, row.image) for row in rows] == [("7", "ann/1.jpg"), ("8", "bob/1.jpg")]
    with pytest.raises(UsageError, match="label=live, label=print"):
        read_people(path, root, Remarks(), person_column="subject", where={"label": "mask"})
    with pytest.raises(UsageError, match="no column person"):
        read_people(path, root, Remarks())


def test_an_unknown_person_is_allowed_among_probes_only(tmp_path, root):
    path = listed(tmp_path, "person,image\nann,ann/1.jpg\n,bob/1.jpg\nann,ann/1.jpg\n")
    remarks = Remarks()
    assert [row.person for row in read_people(path, root, remarks, allow_unknown=True)] == ["ann", ""]
    assert remarks.lines == ["list.csv:4: ann/1.jpg is listed already; row left out"]
    assert [row.person for row in read_people(path, root, Remarks())] == ["ann"]


def test_boxes_are_gathered_per_picture_and_odd_ones_left_out(tmp_path, root):
    remarks = Remarks()
    path = listed(tmp_path, "image,left,top,width,height,source\nann/1.jpg,1,2,3,4,human\nann/1.jpg,5,6,7,8,human\n"
                            "ann/2.jpg,1,2,0,4,human\nbob/1.jpg,x,2,3,4,human\nbob/2.jpg,nan,2,3,4,human\n")
    marked = read_boxes(path, root, remarks)
    assert [(picture.image, len(picture.boxes)) for picture in marked] == [("ann/1.jpg", 2)]
    assert len(remarks.lines) == 3


def test_a_folder_per_person_is_listed_in_order(root):
    (root / "stray.png").write_bytes(b"x")
    (root / "ann" / "notes.txt").write_text("no picture")
    remarks = Remarks()
    assert [(row.person, row.image) for row in people_of_folders(root, remarks)] == [
        ("ann", "ann/1.jpg"), ("ann", "ann/2.jpg"), ("bob", "bob/1.jpg"), ("bob", "bob/2.jpg")]
    assert remarks.lines == ["stray.png: lies in no person's folder; left out"]
    assert pictures_below(root) == ["ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg", "stray.png"]


def test_an_empty_or_absent_folder_is_one_line(tmp_path):
    for read in (pictures_below, lambda path: people_of_folders(path, Remarks())):
        with pytest.raises(UsageError, match="no picture found"):
            read(tmp_path)
        with pytest.raises(UsageError, match="no such folder"):
            read(tmp_path / "none")


def test_where_needs_a_column_and_a_value():
    assert parse_where(["label=live", "mood="]) == {"label": "live", "mood": ""}
    for term in ("label", "=live"):
        with pytest.raises(UsageError, match="COLUMN=VALUE"):
            parse_where([term])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300),
                 st.text("same,ab01fold\"\r\n\\/.;\0éx'", max_size=200).map(lambda s: ("same,a,b\n" + s).encode())))
def test_whatever_a_list_holds_is_read_or_refused(tmp_path, root, data):
    remarks = Remarks()
    try:
        pairs = read_pairs(listed(tmp_path, data), root, remarks)
    except UsageError as error:
        assert "\n" not in str(error)
        return
    assert all((root / pair.a).is_file() and (root / pair.b).is_file() for pair in pairs)
    assert all(line.isprintable() for line in remarks.lines)

"""Finding faces: the rule by which marks and finds belong together, and the counts that follow."""

import cv2
import numpy as np
import pytest

from device.errors import PictureRefused
from device.evaluate.detect import Find, detect, matched, overlap
from device.evaluate.inputs import Marked, Remarks
from device.face.types import Box


def test_overlap_of_a_case_done_by_hand():
    assert overlap(Box(0, 0, 10, 10), Box(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert overlap(Box(0, 0, 10, 10), Box(0, 0, 10, 10)) == 1.0
    assert overlap(Box(0, 0, 10, 10), Box(20, 0, 10, 10)) == 0.0
    assert overlap(Box(0, 0, 0, 0), Box(0, 0, 0, 0)) == 0.0


def test_each_mark_and_each_find_is_used_once():
    marks = [Box(0, 0, 10, 10), Box(6, 0, 10, 10)]
    assert matched(marks, [Box(1, 0, 10, 10)], 0.35) == [0]
    assert sorted(matched(marks, [Box(1, 0, 10, 10), Box(5, 0, 10, 10)], 0.35)) == [0, 1]
    assert matched(marks, [], 0.35) == []
    assert matched([], marks, 0.35) == []


def test_the_best_overlap_is_taken_first():
    # Taken in the order of the list, the first mark would take the second one's find.
    marks = [Box(0, 0, 10, 10), Box(4, 0, 10, 10)]
    assert sorted(matched(marks, [Box(4, 0, 10, 10), Box(0, 0, 10, 10)], 0.35)) == [0, 1]


@pytest.fixture
def pictures(tmp_path):
    for name in ("a.png", "b.png", "easy/c.png", "hard/d.png", "hard/e.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((40, 40, 3), 10 * ord(path.stem[0]) % 256, np.uint8))
    (tmp_path / "easy" / "broken.png").write_bytes(b"x")
    return tmp_path


def found_by_brightness(pixels):
    """Stands in for the detector: finds by the picture's first pixel."""
    return {10 * ord("a") % 256: [Find(Box(0, 0, 10, 10), 0.9), Find(Box(20, 20, 5, 5), 0.7)],
            10 * ord("b") % 256: [Find(Box(0, 0, 10, 10), 0.8)],
            10 * ord("d") % 256: [Find(Box(0, 0, 5, 5), 0.6)]}.get(int(pixels[0, 0, 0]), [])


def test_counts_of_a_case_done_by_hand(pictures):
    marked = [Marked("a.png", (Box(0, 0, 10, 11),), frozenset({"eye"})),
              Marked("b.png", (Box(0, 0, 10, 11), Box(30, 30, 5, 5)), frozenset({"human"})),
              Marked("gone.png", (Box(0, 0, 10, 11),), frozenset())]
    remarks = Remarks()
    result = detect(marked, pictures, ["easy/c.png", "easy/broken.png", "hard/d.png", "hard/e.png"], pictures,
                    found_by_brightness, remarks=remarks)
    assert (result.faces, result.found, result.images) == (3, 2, 2)
    assert result.recall == pytest.approx(2 / 3)
    assert result.missed == {"b.png": 1}
    assert result.extra_per_image == 1.0  # of a.png alone: b.png is marked in part
    assert result.false_per_image == pytest.approx(1 / 3)
    assert {name: (folder.false, folder.images) for name, folder in result.by_folder.items()} == {
        "easy": (0, 1), "hard": (1, 2)}
    assert all(folder.per_image_95[1] > 0.0 for folder in result.by_folder.values())
    assert result.extra_per_image_95 is not None
    assert (result.scores.genuine_total, result.scores.impostor_total) == (2, 1)
    assert remarks.missing == {"gone.png", "easy/broken.png"}


def test_without_a_folder_of_empty_pictures_the_unmarked_finds_are_the_false_ones(pictures):
    marked = [Marked("a.png", (Box(0, 0, 10, 11),), frozenset())]
    result = detect(marked, pictures, [], None, found_by_brightness, remarks=Remarks())
    assert (result.false_per_image, result.without_images) == (1.0, 0)
    assert result.scores.impostor_total == 1


def test_boxes_of_a_picture_that_was_shrunk_on_reading_are_in_its_own_pixels(tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((100, 3840, 3), np.uint8))
    marked = [Marked("large.png", (Box(1000, 20, 40, 40),), frozenset())]
    result = detect(marked, tmp_path, [], None, lambda pixels: [Find(Box(500, 10, 20, 20))], remarks=Remarks())
    assert result.recall == 1.0


def test_nothing_readable_is_one_line(tmp_path):
    with pytest.raises(PictureRefused, match="--images"):
        detect([Marked("none.png", (Box(0, 0, 1, 1),), frozenset())], tmp_path, [], None, found_by_brightness,
               remarks=Remarks())

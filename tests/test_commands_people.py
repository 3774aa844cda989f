"""doorctl as a person uses it: enrol, list, identify, compare, remove, and every bad picture's one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from device.cli import main
from device.commands.console import Progress
from device.face.card import Card
from device.face.models import Models
from device.packs import archives
from device.rehearsal.people import SITTER, STRANGERS, people_of
from device.rehearsal.stage import enrolment_photo, png

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doorctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], pack: Card) -> Run:
    """Runs doorctl in a state of its own; gives exit code, standard output and standard error."""
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOOR_LINK", str(tmp_path / "link.toml"))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def photo(tmp_path: Path, portrait: Pixels) -> Path:
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait[:, :, ::-1]).save(path)
    return path


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_a_person_is_enrolled_found_listed_and_removed(doorctl: Run, photo: Path) -> None:
    code, out, _ = doorctl("enrol", "李伟", photo, "--consent", "paper", "--json")
    assert code == 0
    person_id = json.loads(out)["person_id"]
    code, out, _ = doorctl("person", "list", "--json")
    assert [(p["person_id"], p["label"]) for p in json.loads(out)] == [(person_id, "李伟")]
    code, out, _ = doorctl("identify", photo, "--json")
    assert code == 0
    assert json.loads(out)["faces"][0]["person_id"] == person_id
    code, out, _ = doorctl("person", "remove", person_id[:8])
    assert code == 0
    code, out, _ = doorctl("identify", photo, "--json")
    assert code == 1
    assert not json.loads(out)["faces"][0]["is_known"]


def test_a_face_that_is_enrolled_already_is_refused_by_the_name_of_its_holder(doorctl: Run, photo: Path) -> None:
    assert doorctl("enrol", "Anna", photo, "--consent", "paper")[0] == 0
    code, _, err = doorctl("enrol", "Bert", photo, "--consent", "paper")
    assert code == 1
    assert "enrolled already, as Anna" in err


def test_nobody_is_enrolled_without_consent(doorctl: Run, photo: Path) -> None:
    code, _, err = doorctl("enrol", "Anna", photo)
    assert code == 1
    assert "no face is enrolled without consent" in err
    assert doorctl("person", "list", "--json")[1].strip() == "[]"


def test_too_many_photos_are_wrong_usage_before_any_is_read(doorctl: Run, tmp_path: Path) -> None:
    code, _, err = doorctl("enrol", "Anna", *[tmp_path / "none.jpg"] * 21, "--consent", "paper")
    assert (code, err) == (2, "doorctl: 21 photos; give 1 to 20\n")


def test_progress_is_told_for_every_photo_that_is_examined(doorctl: Run, photo: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    class Told(Progress):
        def step(self, count: int = 1) -> None:
            steps.append(f"{self._label} of {self._total}")
            super().step(count)

    monkeypatch.setattr("device.commands.person.Progress", Told)
    assert doorctl("enrol", "Anna", photo, photo, "--consent", "paper")[0] == 0
    assert steps == ["photos examined of 2"] * 2


def test_photos_of_two_people_are_not_enrolled_as_one(doorctl: Run, tmp_path: Path, pack: Card) -> None:
    models = Models.load(pack)
    people = people_of(archives.portrait(), models.finder, models.landmarks)
    paths = []
    for who in (SITTER, STRANGERS[0]):
        paths.append(tmp_path / f"{who}.png")
        paths[-1].write_bytes(png(enrolment_photo(people, who)))
    code, _, err = doorctl("enrol", "Anna", *paths, "--consent", "paper")
    assert code == 1
    assert "stranger-1.png does not seem to show the same person as sitter.png" in err
    assert doorctl("person", "list", "--json")[1].strip() == "[]"


def test_a_linked_terminal_names_its_hub_instead(doorctl: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "link.toml").write_text("")
    for arguments in (("enrol", "Anna", photo, "--consent", "paper"), ("person", "remove", "abcd")):
        code, _, err = doorctl(*arguments)
        assert code == 1
        assert "takes its people from a hub" in err


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\u0000b", "\u202e"])
def test_a_name_that_cannot_be_shown_is_refused(doorctl: Run, photo: Path, name: str) -> None:
    code, _, err = doorctl("enrol", name, photo, "--consent", "paper")
    assert code == 1
    assert "the name" in err


def test_pictures_of_every_kind_are_read(doorctl: Run, tmp_path: Path, portrait: Pixels) -> None:
    image = Image.fromarray(portrait[:, :, ::-1])
    rotated = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    pictures = {
        "grey": save(tmp_path / "grey.png", image.convert("L")),
        "cmyk": save(tmp_path / "cmyk.jpg", image.convert("CMYK"), quality=95),
        "16 bit": save(tmp_path / "deep.png", grey16),
        "rotated": save(tmp_path / "rotated.jpg", rotated, exif=exif, quality=95),
        "transparent": save(tmp_path / "alpha.png", image.convert("RGBA")),
    }
    for kind, path in pictures.items():
        code, out, err = doorctl("compare", path, pictures["transparent"], "--json")
        assert code == 0, f"{kind}: {err}"
        assert json.loads(out)["score"] > 0.9, kind


def test_bad_pictures_get_one_clear_line_and_store_nothing(doorctl: Run, tmp_path: Path, portrait: Pixels) -> None:
    image = Image.fromarray(portrait[:, :, ::-1])
    good = BytesIO()
    image.save(good, "JPEG")
    two = Image.new("RGB", (1024, 512))
    two.paste(image, (0, 0))
    two.paste(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
    cases = {
        "empty.jpg": b"", "noise.jpg": bytes(range(256)) * 40, "text.png": b"hello", "bomb.png": png_bomb(),
        "cut.jpg": good.getvalue()[: len(good.getvalue()) // 3],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    save(tmp_path / "nobody.png", Image.new("RGB", (400, 400), "grey"))
    save(tmp_path / "two.png", two)
    save(tmp_path / "tiny.png", image.resize((60, 60)))
    for name in (*cases, "nobody.png", "two.png", "tiny.png", "missing.png"):
        code, out, err = doorctl("enrol", "Anna", tmp_path / name, "--consent", "paper")
        assert code == 1, name
        assert err.count("\n") == 1, err
        assert name in err
        assert out == ""
    assert doorctl("person", "list", "--json")[1].strip() == "[]"


def png_bomb() -> bytes:
    """A PNG of 30 000 × 30 000 grey pixels in a few hundred kilobytes or less: its header alone tells."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_damaged_gallery_is_one_line_with_what_becomes_of_it(doorctl: Run, photo: Path, tmp_path: Path) -> None:
    assert doorctl("enrol", "Anna", photo, "--consent", "paper")[0] == 0
    gallery = tmp_path / "state" / "gallery" / "gallery.db"
    for content in (b"no database at all" * 500, b""):
        gallery.write_bytes(content)
        code, _, err = doorctl("person", "list")
        assert code == 1
        assert err.count("\n") == 1
        assert "sets it aside and begins an empty one" in err
        code, _, err = doorctl("enrol", "Anna", photo, "--consent", "paper")
        assert code == 0
        assert err.count("\n") == 1
        assert "set aside as" in err
    assert doorctl("person", "list")[0] == 0


def test_a_gallery_that_was_deleted_is_not_taken_for_a_first_start(doorctl: Run, photo: Path, tmp_path: Path) -> None:
    assert doorctl("person", "list") == (0, "nobody is enrolled: doorctl enrol NAME PHOTO\n", "")
    assert doorctl("enrol", "Anna", photo, "--consent", "paper")[0] == 0
    for path in (tmp_path / "state" / "gallery").glob("gallery.db*"):
        if path.suffix != ".id":
            path.unlink()
    code, _, err = doorctl("person", "list")
    assert code == 1
    assert "it was there before" in err
    code, _, err = doorctl("enrol", "Anna", photo, "--consent", "paper")
    assert (code, err) == (0, "doorctl: the gallery is gone, and a new, empty one begun: enrol again\n")


def test_the_status_states_its_rates_before_anybody_is_enrolled(doorctl: Run) -> None:
    code, out, _ = doorctl("status", "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["people"], found["templates"], found["foreign"]) == (0, 0, 0)
    assert 0 < found["threshold"] < 1
    assert len(found["rates"]) > 0
    said = doorctl("status")[1]
    assert "sudo systemctl start doord" in said
    assert "false match rate" in said


def test_wrong_usage_ends_with_two(doorctl: Run, tmp_path: Path) -> None:
    for arguments in (("enrol",), ("nonsense",), ("run", "--seconds", "x")):
        with pytest.raises(SystemExit) as caught:
            doorctl(*arguments)
        assert caught.value.code == 2
    assert doorctl("check-config", tmp_path / "none.toml")[0] == 2
    assert doorctl("run", "--config", tmp_path / "none.toml")[0] == 2
    assert doorctl("models", "use", "../etc")[0] == 2

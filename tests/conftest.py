"""What several test modules need: built model packs, a portrait, the evaluation pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.face.card import Card
from device.packs import archives, cache
from device.packs.build import build


@pytest.fixture(scope="session")
def pack() -> Card:
    """The default pack, in this machine's ordinary cache."""
    return build()


@pytest.fixture(scope="session")
def dlib_pack() -> Card:
    """The pack with dlib's recogniser, in this machine's ordinary cache."""
    return build("dlib")


@pytest.fixture
def own_cache(pack: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own with a copy of the default pack, and the ordinary cache's archives."""
    own = tmp_path / "cache"
    shutil.copytree(pack.folder, own / "packs" / pack.name)
    (own / "archives").symlink_to(cache.archives_folder())
    monkeypatch.setenv("DOOR_CACHE", str(own))
    monkeypatch.setenv("DOOR_WEIGHTS_URL", "http://127.0.0.1:9/")
    return own


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of evaluation pictures."""
    given = os.environ.get("DOOR_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no evaluation pictures in {folder}; set DOOR_DATA")
    return folder


@pytest.fixture(scope="session")
def portrait() -> npt.NDArray[np.uint8]:
    """One frontal face, 512×512×3 BGR; read-only, copy it to change it."""
    picture = cv2.imdecode(np.frombuffer(archives.portrait(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    picture.setflags(write=False)
    return np.asarray(picture, np.uint8)

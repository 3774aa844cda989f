"""What several test modules need: built model packs, a portrait, the evaluation pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.face.card import Card, read_card
from device.packs import archives, cache, liveness, weights
from device.packs.build import build

pytest_plugins = ["fault_figures"]


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
def weights_dir() -> Path:
    """The folder with the liveness networks' weights."""
    given = os.environ.get("DOOR_WEIGHTS")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "models"
    if not all((folder / each.file).is_file() for each in weights.WEIGHTS):
        pytest.skip(f"no liveness weights in {folder}; set DOOR_WEIGHTS")
    return folder


@pytest.fixture(scope="session")
def liveness_pack(pack: Card, tmp_path_factory: pytest.TempPathFactory) -> Card:
    """The default pack with its liveness networks; not in the ordinary cache where that one has none."""
    if pack.passive is not None:
        return pack
    folder = tmp_path_factory.mktemp("packs") / pack.name
    shutil.copytree(pack.folder, folder)
    given = os.environ.get("DOOR_WEIGHTS") or str(Path(__file__).resolve().parents[2] / "shared" / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOOR_WEIGHTS", given)
        if not weights.at_hand():
            pytest.skip(f"no liveness weights in {given}; set DOOR_WEIGHTS")
        liveness.complete(folder)
    return read_card(folder)


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

"""Names, faces, PINs, cards, passes, passwords and keys as canaries: in nothing that a terminal says of itself, even
as it fails, and in nothing that lies on its card, but for the keys, which a board may keep elsewhere."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import canary_child as child
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from agent_live import SYNCD, Site, within
from fault_figures import Figure
from store_samples import person, template
from sync_samples import enrol
from test_app import enrol_person

from device.clock import SystemClock
from device.credentials.pin import pin_secret
from device.face.card import Card
from device.observe.support import write_bundle
from device.store.cache_writer import CacheWriter
from device.store.places import Places, make_folders, places
from device.store.records import Credential, Method, Template
from device.store.seal import load_key

HERE = Path(__file__).resolve().parent.parent
DOORCTL = (sys.executable, "-c", "import sys; from device.cli import main; sys.exit(main())")
SAYS = (("status",), ("status", "--json"), ("doctor",), ("doctor", "--json"), ("journal", "--last", "500"))
CONFIG = f'[door]\nlock = "strike"\n[camera]\nsource = "rtsp://admin:{child.PASSWORD}@127.0.0.1/x"\n'
NAME = b"Eileen"


def forms(secret: bytes) -> set[bytes]:
    """How bytes may be written down."""
    text = {secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret).rstrip(b"=")}
    return text | {repr(secret)[2:-1].encode()} if len(secret) > 3 else text


def of_vector(one: Template) -> set[bytes]:
    """A stretch of a template, as bytes, as whole numbers and as the numbers of its unit vector."""
    piece = one.vector[40:56]
    numbers = np.frombuffer(piece, np.int8)
    lists = {str(numbers.tolist())[1:-1], str((numbers * np.float32(one.scale)).tolist())[1:40]}
    return forms(piece) | {each.encode() for each in lists}


def hits(canaries: Iterable[bytes], told: dict[str, bytes]) -> list[tuple[str, bytes]]:
    return [(name, canary) for canary in canaries for name, text in told.items() if canary in text]


@dataclass(frozen=True)
class Failed:
    """A terminal that has failed: where it lies, what it and doorctl have said, and what nobody may find."""

    where: Places
    told: dict[str, bytes]
    canaries: set[bytes]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, pack: Card, portrait: npt.NDArray[np.uint8]) -> Iterator[Failed]:
    folder = tmp_path_factory.mktemp("failed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOOR_STATE", str(folder / "state"))
        patch.setenv("DOOR_LINK", str(folder / "none.toml"))
        patch.setenv("GPIOZERO_PIN_FACTORY", "mock")
        where = places()
        make_folders(where)
        known = {*of_the_one_who_is_enrolled(where, pack, portrait), *forms(where.key.read_bytes())}
        offered = {child.WRONG_PIN.encode(), child.PASS.encode(), *forms(child.CARD[::-1])}
        yield Failed(where, everything_told(folder, where, portrait), {*known, *offered, child.PASSWORD.encode()})


def of_the_one_who_is_enrolled(where: Places, pack: Card, portrait: npt.NDArray[np.uint8]) -> set[bytes]:
    person_id = enrol_person(where, pack, portrait)
    writer = CacheWriter.open(where.gallery_db, load_key(where), SystemClock())
    typed = pin_secret(child.NUMBER, child.PIN)
    writer.put_credential(Credential("c" * 32, person_id, Method.PIN, typed))
    writer.put_credential(Credential("d" * 32, person_id, Method.CARD, child.CARD))
    columns = writer.columns(pack.model_id)
    writer.close()
    held = Template(columns.template_ids[0], person_id, pack.model_id, columns.vectors[0].tobytes(),
                    float(columns.scales[0]), 1.0, SystemClock().now())
    return {NAME, typed, child.PIN.encode(), child.NUMBER.encode(), *forms(child.CARD), *of_vector(held)}


def everything_told(folder: Path, where: Places, portrait: npt.NDArray[np.uint8]) -> dict[str, bytes]:
    config, picture = folder / "terminal.toml", folder / "portrait.png"
    config.write_text(CONFIG)
    cv2.imwrite(str(picture), portrait)
    done = subprocess.run([sys.executable, HERE / "canary_child.py", picture, folder], capture_output=True,
                          check=False, timeout=200)
    assert done.returncode == 1, done.stderr
    assert {"granted", "wrong_pin", "unknown_card"} <= set(done.stdout.decode().split())
    assert b"Traceback" in done.stderr
    told = {"log": done.stderr, "metrics": (folder / "metrics").read_bytes(),
            "status": (where.root / "status.json").read_bytes()}
    for words in SAYS:
        more = () if words[0] == "journal" else ("--config", str(config))
        said = subprocess.run([*DOORCTL, *words, *more], capture_output=True, check=False, timeout=120)
        assert b"usage:" not in said.stderr, said.stderr
        told[" ".join(words)] = said.stdout + said.stderr
    write_bundle(folder / "support.tar.gz", where, SystemClock(), config)
    with tarfile.open(folder / "support.tar.gz") as bundle:
        told |= {member.name: part.read() for member in bundle if (part := bundle.extractfile(member)) is not None}
    return told


@pytest.mark.timeout(300)
def test_nothing_that_a_terminal_says_of_itself_names_anybody_even_as_it_fails(failed: Failed,
                                                                               figure: Figure) -> None:
    assert hits(failed.canaries, failed.told) == []
    figure("F64", f"{len(failed.canaries)} canaries of names, faces, PINs, cards, passes, passwords and keys in "
                  f"{len(failed.told)} logs, metrics, reports and parts of a bundle: 0 found")


@pytest.mark.timeout(300)
def test_a_stolen_card_of_a_terminal_that_stands_alone_tells_nothing_without_its_key(failed: Failed,
                                                                                     figure: Figure) -> None:
    files = on_card(failed.where.root, {failed.where.key})
    assert {"gallery.db", "journal.db"} <= {Path(name).name for name in files}
    canaries = {*failed.canaries, b"PRIVATE KEY"}
    assert hits(canaries, files) == []
    assert hits(canaries, on_card(failed.where.root, set()))  # with the key on it, the key is found
    figure("F53", f"a card without its key, {len(files)} files: 0 of {len(canaries)} canaries found")


@pytest.mark.timeout(300)
def test_a_stolen_card_of_a_terminal_with_a_hub_tells_nothing_without_its_keys(
        tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, figure: Figure) -> None:
    site = Site(tmp_path, tmp_path_factory)
    try:
        enrol(site.hub, 50)
        with (tmp_path / "said").open("wb") as said:
            site.syncd = subprocess.Popen([*SYNCD, "--verbose", "run"], env=site.environment, stdout=said,
                                          stderr=said)
        within(60, site.is_equal)
        assert site.stop_syncd() == 0
    finally:
        site.close()
    keys = {site.where.key, site.link.key, site.link.signing_key, site.link.sealing_key}
    files = on_card(site.where.root, keys) | on_card(site.link_toml.parent, keys)
    canaries = {b"CANARY", b"PRIVATE KEY", *(piece for key in keys for piece in forms(key.read_bytes()[:32]))}
    for number in range(1, 51):
        canaries |= {*of_vector(template(number)), person(number).label.encode()}
    assert hits(canaries, files | {"log": (tmp_path / "said").read_bytes()}) == []
    figure("F53b", f"a card of a terminal with a hub, without its keys, {len(files)} files: 0 of {len(canaries)} "
                   "canaries found")


def on_card(root: Path, besides: set[Path]) -> dict[str, bytes]:
    """All files of a folder, but for those that lie elsewhere where the board can keep them."""
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and path not in besides and os.stat(path).st_size < 1 << 26}

"""The two liveness networks' weights: pinned files of minivision-ai/Silent-Face-Anti-Spoofing (Apache-2.0).

They lie in no package registry. So they are looked for in the folder $DOOR_WEIGHTS, then among the downloads of the
cache; `obtain`, which `doorctl models build` calls, downloads them from the project's own address into the cache.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from device.errors import ModelMismatch, TerminalError
from device.packs import cache
from device.packs.fetch import FetchFailed

COMMIT = "b6d5f04ad78778917853b25c778acef6d5626d15"
ADDRESS = f"https://raw.githubusercontent.com/minivision-ai/Silent-Face-Anti-Spoofing/{COMMIT}/"

_FOLDER = "resources/anti_spoof_models/"
_LIMIT_S = 10.0
_LEAST_RATE = 100_000.0  # bytes a second; what comes more slowly after the first ten seconds is given up
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights, and the role of the network that it becomes."""

    role: str
    file: str
    size: int
    sha256: str
    has_attention: bool


WEIGHTS = (
    Weights("pad_v2", "2.7_80x80_MiniFASNetV2.pth", 1_849_453,
            "a5eb02e1843f19b5386b953cc4c9f011c3f985d0ee2bb9819eea9a142099bec0", False),
    Weights("pad_v1se", "4_0_0_80x80_MiniFASNetV1SE.pth", 1_856_130,
            "84ee1d37d96894d5e82de5a57df044ef80a58be2b218b5ed7cdfd875ec2f5990", True),
)


def at_hand() -> dict[str, bytes]:
    """The files' contents by role where both lie on this machine, else empty."""
    found = {weights.role: data for weights in WEIGHTS if (data := _local(weights)) is not None}
    return found if len(found) == len(WEIGHTS) else {}


def obtain() -> None:
    """Afterwards both are at hand, downloaded where they were not.

    FetchFailed in one line where they cannot be had: after ten seconds without an answer, or on a line too slow for
    them. ModelMismatch where a file has another hash than the pinned one.
    """
    chosen = _chosen_folder()
    for weights in WEIGHTS:
        if chosen is not None:
            _refuse_other(chosen / weights.file, weights)
        if _local(weights) is None:
            _keep(weights, _download(_address() + urllib.parse.quote(_FOLDER + weights.file), weights))


def _refuse_other(path: Path, weights: Weights) -> None:
    """ModelMismatch where a file of that name lies there and is another one."""
    if path.exists() and _intact(path, weights) is None:
        raise ModelMismatch(f"{path} is not the pinned {weights.file}; put the file of commit {COMMIT[:8]} there, or "
                            "unset DOOR_WEIGHTS")


def _local(weights: Weights) -> bytes | None:
    chosen = _chosen_folder()
    folders = [chosen] if chosen is not None else []
    for folder in (*folders, cache.cache_folder() / "archives"):  # which need not exist
        if (data := _intact(folder / weights.file, weights)) is not None:
            return data
    return None


def _chosen_folder() -> Path | None:
    given = os.environ.get("DOOR_WEIGHTS")
    return Path(given).expanduser() if given else None


def _intact(path: Path, weights: Weights) -> bytes | None:
    """The file's bytes where it is the pinned one."""
    try:
        if path.stat().st_size != weights.size:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == weights.sha256 else None


def _keep(weights: Weights, data: bytes) -> None:
    folder = cache.archives_folder()
    with cache.builder_lock(folder), cache.scratch(folder) as work:
        (work / weights.file).write_bytes(data)
        (work / weights.file).replace(folder / weights.file)


def _address() -> str:
    """Where the project's files lie; $DOOR_WEIGHTS_URL names a mirror."""
    address = os.environ.get("DOOR_WEIGHTS_URL", ADDRESS)
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise FetchFailed("DOOR_WEIGHTS_URL must begin with http:// or https://")
    return address if address.endswith("/") else address + "/"


def _download(address: str, weights: Weights) -> bytes:
    # On a thread of its own, because looking up a name cannot be told to give up. The queue holds at most the file.
    blocks: queue.Queue[bytes | str] = queue.Queue()
    threading.Thread(target=_pump, args=(address, weights.size, blocks), name="download", daemon=True).start()
    begun, data = time.monotonic(), bytearray()
    while True:
        patience = begun + _LIMIT_S + len(data) / _LEAST_RATE - time.monotonic()
        try:
            block = blocks.get(timeout=max(patience, 0.0))
        except queue.Empty:
            block = f"no answer within {_LIMIT_S:.0f} s" if not data else "the line is too slow"
        if isinstance(block, str):
            host = urllib.parse.urlsplit(address).hostname
            raise FetchFailed(f"{weights.file} cannot be fetched from {host}: {block}")
        if not block:
            break
        data += block
    if hashlib.sha256(data).hexdigest() != weights.sha256:
        raise ModelMismatch(f"{weights.file} came with another SHA-256 than the pinned one and was not kept; try "
                            "another network")
    return bytes(data)


def _pump(address: str, size: int, blocks: queue.Queue[bytes | str]) -> None:
    """The body in blocks, then an empty one; or a text that says why not. Never more than `size` and one block."""
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "open-door"})  # noqa: S310 scheme is checked
        with urllib.request.urlopen(request, timeout=_LIMIT_S) as answer:  # noqa: S310
            taken = 0
            while taken <= size and (block := answer.read(_BLOCK)):
                taken += len(block)
                blocks.put(block)
        blocks.put(b"")
    except urllib.error.HTTPError as error:
        blocks.put(f"the server answers {error.code}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        blocks.put("".join(letter for letter in text if letter.isprintable())[:120])


def note(error: TerminalError) -> str:
    """The one line for a person whose terminal stays without these networks."""
    return (f"no passive liveness network: {error}. Visitors are asked for a challenge instead. To add it, put "
            f"{' and '.join(weights.file for weights in WEIGHTS)} into a folder and run "
            "`DOOR_WEIGHTS=FOLDER doorctl models build`")

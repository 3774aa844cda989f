"""Whether a bundle is what whoever signs updates meant this terminal to have, now. Before it is unpacked.

The client of The Update Framework (specification 1.0.33, section 5) reads the bundle as its repository. It refuses
metadata with too few signatures, older than what was seen before, expired, or not of one snapshot. Two things are
added:

- A bundle must hold exactly what was signed: no part that nothing names, no byte of metadata that nothing covers
  (spelling, signatures beyond the threshold). So no altered bundle passes, not even a harmlessly altered one.
- The client works on a copy of the trusted metadata, which takes its place only by `Verified.trust`. A bundle that is
  refused in the end leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.update.bundle import MANIFEST, REQUIREMENTS, WHEELS, Bundle, BundleRefused
from device.update.disk import UpdateFailed, guarded, point, remove_tree, settle
from device.update.manifest import Manifest, parse_manifest
from device.update.time_floor import TimeFloor

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, TargetFile  # type: ignore[attr-defined]
    from tuf.ngclient.updater import Updater

METADATA = "metadata/"
_BASE = "bundle:///"
_SIGNATURE = re.compile(r"[0-9a-f]{128}")  # Ed25519
_MOST = 500_000


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle that may be unpacked, and the metadata that is trusted from then on."""

    manifest: Manifest
    folder: Path
    link: Path

    def trust(self) -> None:
        """Trust this metadata for good: nothing older is taken any more."""
        with guarded(self.folder):
            settle()
            point(self.link, self.folder.name)
        sweep_metadata(self.link)

    def forget(self) -> None:
        """Leave the trusted metadata as it was."""
        remove_tree(self.folder)


def verify(bundle: Bundle, link: Path, bootstrap: Path, floor: TimeFloor) -> Verified:
    """The bundle's manifest, all of it verified; BundleRefused in one line where anything is not as it must be.

    link       the trusted metadata, as a link to a folder beside it; nothing there before the first update
    bootstrap  the root that this terminal was given when it was installed
    floor      says what an expiry is compared with
    """
    root = _bootstrap(bootstrap)
    sweep_metadata(link)
    folder = _copied(link)
    try:
        with guarded(folder):
            _refresh(bundle, folder, root, floor)
            _check_metadata(bundle, folder, _spelt(root).signed.version)
            _check_targets(bundle, folder)
            return Verified(parse_manifest(bundle.read(MANIFEST)), folder, link)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def sweep_metadata(link: Path) -> None:
    """Remove metadata that is not in force."""
    for folder in link.parent.glob(f"{link.name}-*"):
        if not link.is_symlink() or folder.name != link.readlink().name:
            remove_tree(folder)


def _bootstrap(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UpdateFailed(f"{path}: {error.strerror}; put the root.json of whoever signs updates there") from None


def _copied(link: Path) -> Path:
    """A copy of the trusted metadata, to be worked on."""
    number = int(link.readlink().name.rpartition("-")[2]) if link.is_symlink() else 0
    folder = link.with_name(f"{link.name}-{number + 1}")
    with guarded(folder):
        if link.is_dir():
            shutil.copytree(link, folder, symlinks=True)
        else:
            folder.mkdir()
    return folder


# --- the framework's own rules -----------------------------------------------------------------------------


def _refresh(bundle: Bundle, folder: Path, root: bytes, floor: TimeFloor) -> None:
    from tuf.api import exceptions

    try:
        updater = _updater(bundle, folder, root)
        # The client reads the machine's clock once, here, and has no parameter for it.
        updater._trusted_set.reference_time = floor.reference
        updater.refresh()
    except exceptions.ExpiredMetadataError as error:
        raise BundleRefused(f"the bundle's signatures have expired ({_line(error)}); {floor.words()}: ask for a "
                            "newer bundle") from None
    except exceptions.BadVersionNumberError as error:
        raise BundleRefused("the bundle is older than one that this terminal has taken, or put together of two "
                            f"({_line(error)})") from None
    except exceptions.UnsignedMetadataError as error:
        raise BundleRefused(f"the bundle is not signed by those whom this terminal trusts ({_line(error)})") from None
    except (exceptions.RepositoryError, exceptions.DownloadError, ValueError) as error:
        raise BundleRefused(f"the bundle's metadata cannot be trusted ({_line(error)})") from None


def _updater(bundle: Bundle, folder: Path, root: bytes) -> Updater:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient.config import UpdaterConfig
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.updater import Updater

    class Fetcher(FetcherInterface):
        """Takes the framework's files out of the bundle instead of from a server."""

        def _fetch(self, url: str) -> Iterator[bytes]:
            name = url.removeprefix(_BASE)
            if name not in bundle.parts:
                raise DownloadHTTPError(f"{name} is missing", 404)
            return bundle.blocks(name)

    config = UpdaterConfig(root_max_length=_MOST, snapshot_max_length=_MOST, targets_max_length=_MOST)
    return Updater(str(folder), _BASE + METADATA, fetcher=Fetcher(), config=config, bootstrap=root)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


# --- what is added to them ---------------------------------------------------------------------------------


def _check_metadata(bundle: Bundle, folder: Path, first: int) -> None:
    """The bundle's metadata is byte for byte what is trusted now, and every byte of it is covered.

    first  version of the root that this terminal began with
    """
    trusted = _trusted(folder, first)
    for name in bundle.parts:
        if not name.startswith(METADATA) or _is_older_root(name, first):
            continue
        if name not in trusted or bundle.read(name) != trusted[name]:
            raise BundleRefused(f"{name} in the bundle is not what was signed")
    if missing := [name for name in trusted if name not in bundle.parts and not name.endswith(".root.json")]:
        raise BundleRefused(f"the bundle lacks {missing[0]}")
    roots: list[Metadata[Root]] = [_spelt(trusted[name]) for name in _by_version(trusted)]
    for before, newer in itertools.pairwise(roots):
        _check_root_signatures(before, newer)
    for role in ("timestamp", "snapshot", "targets"):
        _check_signatures(role, _spelt((folder / f"{role}.json").read_bytes()), roots[-1].signed)


def _trusted(folder: Path, first: int) -> dict[str, bytes]:
    """What is trusted now, by the names that a bundle uses."""
    found = {f"{METADATA}timestamp.json": (folder / "timestamp.json").read_bytes()}
    for role in ("snapshot", "targets"):
        data = (folder / f"{role}.json").read_bytes()
        found[f"{METADATA}{_spelt(data).signed.version}.{role}.json"] = data
    newest = int((folder / "root.json").readlink().name.partition(".")[0])
    for path in (folder / "root_history").iterdir():
        if first <= int(path.name.partition(".")[0]) <= newest:
            found[METADATA + path.name] = path.read_bytes()
    return found


def _by_version(trusted: Mapping[str, bytes]) -> list[str]:
    """The names of the roots, oldest first."""
    return sorted((name for name in trusted if name.endswith(".root.json")), key=_version)


def _version(name: str) -> int:
    return int(name.removeprefix(METADATA).partition(".")[0])


def _is_older_root(name: str, first: int) -> bool:
    """Whether it is a root from before the one that this terminal began with: of no use here, and not read."""
    return name.endswith(".root.json") and _version(name) < first


def _spelt(data: bytes) -> Metadata[Any]:
    """The metadata, which must be spelt as it is signed: no second spelling, nothing beside what is signed."""
    from tuf.api.metadata import Metadata

    found: Metadata[Any] = Metadata.from_bytes(data)
    if found.to_bytes() != data or found.unrecognized_fields:
        raise BundleRefused("the bundle's metadata is not spelt as it was signed")
    return found


def _check_root_signatures(before: Metadata[Root], newer: Metadata[Root]) -> None:
    """A root bears signatures of its own keys and of the keys before it, and no others."""
    result = newer.signed.get_root_verification_result(before.signed, newer.signed_bytes, newer.signatures)
    _check_each("root", newer, set(result.signed))


def _check_signatures(role: str, found: Metadata[Any], root: Root) -> None:
    result = root.get_verification_result(role, found.signed_bytes, found.signatures)
    _check_each(role, found, set(result.signed))


def _check_each(role: str, found: Metadata[Any], valid: set[str]) -> None:
    for key_id, signature in found.signatures.items():
        if key_id not in valid or not _SIGNATURE.fullmatch(signature.signature) or signature.unrecognized_fields:
            raise BundleRefused(f"a signature of the bundle's {role} metadata does not hold")


def _check_targets(bundle: Bundle, folder: Path) -> None:
    """The bundle holds the signed targets, all of them and nothing else, each with its length and hash."""
    signed = _spelt((folder / "targets.json").read_bytes()).signed
    if signed.delegations is not None:
        raise BundleRefused("the bundle's targets metadata hands its trust on, which is not done here")
    targets: dict[str, TargetFile] = signed.targets
    held = {name for name in bundle.parts if not name.startswith(METADATA)}
    if odd := sorted(held ^ set(targets)):
        raise BundleRefused(f"{odd[0][:80]} is {'in the bundle, but not signed' if odd[0] in held else 'missing'}")
    if not {MANIFEST, REQUIREMENTS} < held or not any(name.startswith(WHEELS) for name in held):
        raise BundleRefused("the bundle lacks its manifest, its requirements or its wheels")
    for name, target in targets.items():
        _check_target(bundle, name, target)


def _check_target(bundle: Bundle, name: str, target: TargetFile) -> None:
    digest = hashlib.sha256()
    for block in bundle.blocks(name) if bundle.parts[name].size == target.length else ():
        digest.update(block)
    if bundle.parts[name].size != target.length or set(target.hashes) != {"sha256"} or not hmac.compare_digest(
            digest.hexdigest().encode(), target.hashes["sha256"].encode()):
        raise BundleRefused(f"{name} in the bundle is not what was signed")

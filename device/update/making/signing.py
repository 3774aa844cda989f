"""What those who sign updates put their names to: the roots of trust, and the metadata of one bundle.

A bundle's metadata is numbered by the second in which it was made. So it rises without a repository that could be
lost, and the same sources, keys and moment give the same bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from device.errors import UsageError
from device.update.making.keys import THRESHOLDS, KeyFile

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key  # type: ignore[attr-defined]

LEAST_DAYS = 90
"""A bundle on a stick must hold so long at least: it may lie in a drawer before it is used."""
ROOT_DAYS = 3650


def first_root(keys: Sequence[KeyFile], made: datetime, days: int = ROOT_DAYS) -> bytes:
    """The root that terminals are given when they are installed; signed by all its root keys."""
    signers = {role: [key.signer for key in keys if key.name.startswith(f"{role}-")] for role in THRESHOLDS}
    roles = {role: _role(role, [signer.public_key.keyid for signer in found]) for role, found in signers.items()}
    publics: dict[str, Key] = {signer.public_key.keyid: signer.public_key for found in signers.values()
                               for signer in found}
    root = Root(1, expires=_end(made, days), keys=publics, roles=roles, consistent_snapshot=True)
    return _signed(root, signers["root"])


def next_root(before: bytes, keys: Sequence[KeyFile], replaced: Mapping[str, KeyFile], made: datetime,
              days: int = ROOT_DAYS) -> bytes:
    """The root that follows `before`, for other keys (`replaced`: key id -> its successor) or a later end.

    Signed by every root key that is at hand; UsageError where those are too few of the old or of the new ones.
    """
    old: Metadata[Root] = Metadata.from_bytes(before)
    root = Metadata[Root].from_bytes(before).signed
    root.version += 1
    root.expires = _end(made, days)
    for key_id, successor in replaced.items():
        roles = [name for name, role in root.roles.items() if key_id in role.keyids]
        if not roles:
            raise UsageError(f"no role is signed with the key {key_id}")
        for role in roles:
            root.revoke_key(key_id, role)
            root.add_key(successor.signer.public_key, role)
    wanted = {*old.signed.roles["root"].keyids, *root.roles["root"].keyids}
    every = [key.signer for key in (*keys, *replaced.values()) if key.signer.public_key.keyid in wanted]
    data = _signed(root, every)
    fresh: Metadata[Root] = Metadata.from_bytes(data)
    result = root.get_root_verification_result(old.signed, fresh.signed_bytes, fresh.signatures)
    if not result.verified:
        raise UsageError("too few root keys are at hand: two of the old root's and two of the new root's must sign")
    return data


def sign_bundle(roots: Sequence[bytes], keys: Sequence[KeyFile], targets: Mapping[str, tuple[int, str]],
                made: datetime, days: int) -> dict[str, bytes]:
    """A bundle's metadata by name. targets: name -> (bytes, SHA-256).

    roots  every root from the first on, in order; UsageError where a role has too few keys at hand, where the root
           ends before the bundle does, or where `days` is too short for a stick
    """
    if days < LEAST_DAYS:
        raise UsageError(f"a bundle must hold for {LEAST_DAYS} days at least, not {days}: it may lie on a stick")
    root: Metadata[Root] = Metadata.from_bytes(roots[-1])
    end, version = _end(made, days), int(made.timestamp())
    if root.signed.expires < end:
        raise UsageError(f"the root ends on {root.signed.expires:%Y-%m-%d}, before the bundle would; make the next "
                         "root first: `make_bundle root`")
    files = {name: TargetFile(size, {"sha256": digest}, name) for name, (size, digest) in targets.items()}
    signed = {f"metadata/{number}.root.json": data for number, data in enumerate(roots, 1) if number > 1}
    data = _signed(Targets(version, expires=end, targets=files), _of("targets", root.signed, keys))
    signed[f"metadata/{version}.targets.json"] = data
    data = _signed(Snapshot(version, expires=end, meta={"targets.json": _meta(version, data)}),
                   _of("snapshot", root.signed, keys))
    signed[f"metadata/{version}.snapshot.json"] = data
    signed["metadata/timestamp.json"] = _signed(
        Timestamp(version, expires=end, snapshot_meta=_meta(version, data)), _of("timestamp", root.signed, keys))
    return signed


def _role(name: str, key_ids: list[str]) -> Role:
    if len(key_ids) < THRESHOLDS[name]:
        raise UsageError(f"{len(key_ids)} keys for {name}; {THRESHOLDS[name]} at least are needed")
    return Role(key_ids, THRESHOLDS[name])


def _of(role: str, root: Root, keys: Sequence[KeyFile]) -> list[CryptoSigner]:
    """The signers of a role that are at hand."""
    wanted = root.roles[role]
    found = [key.signer for key in keys if key.signer.public_key.keyid in wanted.keyids]
    if len(found) < wanted.threshold:
        raise UsageError(f"{len(found)} of the {role} keys that the root names are at hand; {wanted.threshold} must "
                         "sign")
    return found


def _signed(signed: Any, signers: Sequence[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    for signer in sorted(signers, key=lambda one: one.public_key.keyid):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])


def _end(made: datetime, days: int) -> datetime:
    return (made + timedelta(days=days)).replace(microsecond=0)

"""The first root of trust of updates, as whoever installs the terminal hands it over."""

from __future__ import annotations

import json
from pathlib import Path

from door_setup.plan import Step, WrongUsage
from door_setup.tree import Tree, file_step

PATH = "/etc/door/update-root.json"
MOST_BYTES = 1 << 20


def trust_step(tree: Tree, file: Path) -> Step:
    """Put the root there, and show its key ids: compare them with those that were read aloud when it was made."""
    with file.open("rb") as source:
        data = source.read(MOST_BYTES + 1)
    why = f"updates are taken from whoever holds {threshold_words(data, file)}"
    return file_step(tree, PATH, data, why)


def threshold_words(data: bytes, file: Path) -> str:
    """Like "2 of the keys 3f9a..., 07cc..., b1d2..."; WrongUsage where the file is no root of trust."""
    try:
        signed = json.loads(data)["signed"]
        role = signed["roles"]["root"]
        ids, threshold = [str(one) for one in role["keyids"]], int(role["threshold"])
        is_root = signed["_type"] == "root" and 0 < threshold <= len(ids) and len(data) <= MOST_BYTES
    except (ValueError, KeyError, TypeError, RecursionError):
        is_root, ids, threshold = False, [], 0
    if not is_root:
        raise WrongUsage(f"{file}: no root of trust; name the 1.root.json that `make_bundle keys` made")
    return f"{threshold} of the keys {', '.join(one[:16] for one in ids)}"

"""What every network of both packs gives for the fixed chip, as JSON: run on both machines, compared by tally.py."""

import json
import platform
import sys

from device.face.runtime import Network
from device.packs import cache, selftest
from device.packs.build import build
from device.packs.recipes import RECIPES


def main() -> int:
    found = {}
    for name in RECIPES:
        card = build(name)
        for role in (known.role for known in card.known_vectors):
            values = selftest.vector_of(Network(card.path(role)), role)
            found[f"{name} {role}"] = [float(value) for value in values]
    json.dump({"machine": platform.machine(), "python": platform.python_version(), "vectors": found,
               "archives": str(cache.archives_folder())}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

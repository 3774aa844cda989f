"""The list of everything that is installed: whole, with hashes and licences, and the same for the same files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def made(kind: str, path: Path) -> dict[str, Any]:
    subprocess.run([sys.executable, "-W", "error", ROOT / "firmware_scripts" / "sbom", kind, path], check=True,
                   capture_output=True, timeout=60)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("kind", ["terminal", "hub"])
def test_every_pinned_version_is_listed_with_its_hashes(kind: str, tmp_path: Path) -> None:
    bom = made(kind, tmp_path / "sbom.json")
    text = (ROOT / "requirements" / f"{kind}.txt").read_text()
    listed = [(one["name"], one["version"]) for one in bom["components"] if one["type"] == "library"]
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE)
    assert sorted(listed) == sorted(pinned)
    told = {row["value"] for one in bom["components"] for row in one.get("properties", [])
            if row["name"] == "pip:sha256"}
    assert told == set(re.findall(r"sha256:([0-9a-f]{64})", text))
    assert bom["specVersion"] == "1.6"


def test_the_weights_are_listed_with_hash_and_licence(tmp_path: Path) -> None:
    bom = made("terminal", tmp_path / "sbom.json")
    models = [one for one in bom["components"] if one["type"] == "machine-learning-model"]
    assert len(models) >= 6
    assert all(one["licenses"] for one in models)
    assert sum(one.get("hashes", [{}])[0].get("alg") == "SHA-256" for one in models) >= 4


def test_one_list_has_one_name_and_no_address_of_a_machine(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    made("terminal", first)
    made("terminal", second)
    assert first.read_bytes() == second.read_bytes()
    assert str(ROOT) not in first.read_text()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, ROOT / "firmware_scripts" / "sbom", "hub", tmp_path / "no" / "x.json"],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1

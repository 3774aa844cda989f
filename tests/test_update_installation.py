"""Real wheels into real virtual environments, offline: what is pinned and nothing else, on a card that fills up."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from update_samples import OURS, Bench, at, manifest_of, parts_of, root, signers, tiny_bundle

from device.update.installation import sees_system
from device.update.making.main import assemble
from device.update.making.signing import sign_bundle


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "terminal")
    bench.real_installer()
    return bench


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, "1.1.0")


def test_a_real_wheel_is_installed_without_a_network_and_its_programs_run(bench: Bench, bundle: Path,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    assert not sees_system(bench.layout.current)
    (bench.layout.current / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    bench.updater().update(bundle)
    assert sees_system(bench.layout.current)
    said = subprocess.run([bench.layout.current / "bin" / "doorctl"], capture_output=True, text=True, check=True)
    assert said.stdout == "1.1.0\n"
    first = (bench.layout.current / "bin" / "doord").read_text().splitlines()[0]
    assert first.startswith(f"#!{bench.layout.releases}/1.1.0/bin/python")
    folder = bench.layout.releases / "1.1.0"
    assert all(path.stat().st_mode & 0o022 == 0 and path.stat().st_mode & 0o044 == 0o044
               for path in folder.rglob("*") if not path.is_symlink())


def test_a_real_release_whose_self_check_fails_is_never_switched_to(bench: Bench, tmp_path: Path) -> None:
    line = bench.refusal(tiny_bundle(tmp_path, "1.1.0", verdict="nobody was let in"))
    assert line == "the new release does not decide as it must: nobody was let in"


def test_a_wheel_with_another_hash_than_its_pin_is_not_installed(bench: Bench, bundle: Path, tmp_path: Path) -> None:
    parts = parts_of(bundle)
    wheel = tmp_path / "open_door-1.1.0-py3-none-any.whl"
    wheel.write_bytes(next(data for name, data in parts.items() if name.startswith("wheels/")))
    path = tmp_path / "odd.bundle"
    assemble(path, manifest_of("1.1.0", at(1)), b"open-door==1.1.0 --hash=sha256:" + b"0" * 64 + b"\n", [wheel],
             lambda targets: sign_bundle([root(OURS)], signers(OURS), targets, at(1), 180))
    assert "pip: " in bench.refusal(path)


# --- a card that fills up ------------------------------------------------------------------------------------

FULL = """
    import json, subprocess, sys
    from pathlib import Path
    sys.path[:0] = [sys.argv[2], sys.argv[3]]
    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(disk)], check=True)
    from update_samples import Bench, tiny_bundle
    from device.errors import TerminalError
    bench = Bench(disk / "terminal")
    bundle = tiny_bundle(disk, "1.1.0")
    bench.real_installer()
    lines, switched = [], 0
    junk = disk / "junk"
    for room in (0, 65_000, 85_000, 8_000_000):
        with open(junk, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        size = junk.stat().st_size
        with open(junk, "r+b") as file:
            file.truncate(max(size - room, 0))
        try:
            bench.updater().update(bundle)
            switched += 1
            break
        except TerminalError as error:
            lines.append(str(error))
        assert bench.runs == "1.0.0" and not bench.layout.trial.exists(), lines
        assert not (bench.layout.releases / "1.1.0").exists(), lines
    print(json.dumps([lines, switched, bench.runs]))
"""


def test_a_card_that_is_full_at_any_point_of_an_update_keeps_the_release_that_runs(tmp_path: Path) -> None:
    here = Path(__file__).parent
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True,
                           check=False)
    if probe.returncode:
        pytest.skip("no mount namespaces here: small file systems cannot be made")
    done = subprocess.run(["unshare", "-rm", sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path), str(here),
                           str(here.parent)], capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    lines, switched, runs = json.loads(done.stdout.splitlines()[-1])
    assert (switched, runs) == (1, "1.1.0")
    assert len(lines) == 3
    assert all("\n" not in line for line in lines)
    assert all("free some space" in line for line in lines)

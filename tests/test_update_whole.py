"""The whole way once, with nothing left out: this checkout as a signed bundle with every pinned wheel, installed
offline, run, judged for its minute; then a newer one that does not say how it is, gone back from by the release that
was installed before.

Takes minutes, and needs what pip is set up with: marked slow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from update_samples import HERE, Bench

from device.face.card import Card
from device.update.bundle import Bundle
from device.update.main import main
from device.update.making.main import main as make_bundle
from device.update.making.wheelhouse import FILES, SOURCES
from device.update.manifest import parse_manifest
from device.update.outcome import Outcome, Result, read_outcome
from device.update.slots import Slots

ROOT = Path(__file__).resolve().parent.parent

# Starts doord of whatever release is the current one, as its unit does, and nothing else.
SYSTEMCTL = """\
    #!{python}
    import os, signal, subprocess, sys, time
    from pathlib import Path
    folder = Path({folder!r})
    pid_file = folder / "doord.pid"
    if sys.argv[-1] != "doord.service":
        sys.exit(1)
    if sys.argv[1] == "restart":
        if pid_file.exists():
            try:
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
                time.sleep(3)
            except ProcessLookupError:
                pass
        python = Path({current!r}).resolve() / "bin" / "python"
        with open(folder / "doord.log", "ab") as log:
            child = subprocess.Popen([python, "-I", {doord!r}], stdout=log, stderr=log, start_new_session=True)
        pid_file.write_text(str(child.pid))
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A terminal whose services are started by the script above."""
    bench = Bench(tmp_path / "terminal")
    script = tmp_path / "bin" / "systemctl"
    script.parent.mkdir()
    script.write_text(textwrap.dedent(SYSTEMCTL).format(
        python=sys.executable, folder=str(tmp_path), current=str(bench.layout.current),
        doord=str(ROOT / "tests" / "update_doord.py")))
    script.chmod(0o755)
    (bench.layout.runtime / "status.json").unlink()
    for name, value in (("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}"), ("DOOR_LINK", "/nowhere/link"),
                        ("DOOR_STATE", str(bench.layout.runtime)), ("GPIOZERO_PIN_FACTORY", "mock")):
        monkeypatch.setenv(name, value)
    return bench


def checkout(folder: Path, version: str) -> Path:
    """A copy of this checkout, as another version."""
    for name in (*SOURCES, *FILES):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
    project = folder / "pyproject.toml"
    lines = [f'version = "{version}"' if line.startswith("version = ") else line
             for line in project.read_text(encoding="utf-8").splitlines()]
    project.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def made(tmp_path: Path, source: Path) -> Path:
    keys, out = str(tmp_path / "keys"), tmp_path / "out"
    if not Path(keys).exists():
        assert make_bundle(["keys", keys, "--plain"]) == 0
    words = ["build", "--keys", keys, "--roots", keys, "--arch", HERE.arch, "--python", HERE.python]
    if make_bundle([*words, "--out", str(out), "--checkout", str(source)]):
        pytest.skip("pip cannot fetch the pinned wheels here")
    return max(out.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def silence(status: Path) -> None:
    """doord of this checkout works, but never says how it is."""
    text = status.read_text(encoding="utf-8")
    assert text.count("    fresh = path") == 1
    status.write_text(text.replace("    fresh = path", "    return\n    fresh = path"), encoding="utf-8")


def outcome(bench: Bench) -> Outcome:
    found = read_outcome(bench.layout.outcome)
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_this_project_updates_itself_offline_and_goes_back_from_a_release_that_does_not_answer(
        bench: Bench, tmp_path: Path, pack: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    good = made(tmp_path, checkout(tmp_path / "good", "1.0.1"))
    bench.layout.bootstrap.write_bytes((tmp_path / "keys" / "1.root.json").read_bytes())
    broken = checkout(tmp_path / "broken", "1.0.2")
    silence(broken / "device" / "status.py")
    bad = made(tmp_path, broken)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    root = str(tmp_path / "terminal")

    try:
        assert main([str(good), "--root", root]) == 0
        assert (outcome(bench).result, bench.runs) == (Result.UPDATED, "1.0.1")
        with Bundle.open(good) as bundle:
            manifest = parse_manifest(bundle.read("manifest.json"))
        folder = bench.layout.releases / "1.0.1"
        size = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
        print(f"installed {size >> 20} MiB, {size / manifest.installed_bytes:.2f} of what the manifest says")
        assert size <= manifest.installed_bytes

        python = bench.layout.current / "bin" / "python"
        done = subprocess.run([python, "-I", "-m", "device.update.main", bad, "--root", root], capture_output=True,
                              text=True, check=False, timeout=900)
        assert done.returncode == 1, done.stderr
        assert (outcome(bench).result, bench.runs) == (Result.ROLLED_BACK, "1.0.1")
        assert "doord_silent" in outcome(bench).why
        assert [str(release.version) for release in Slots(bench.layout).whole()] == ["1.0.0", "1.0.1", "1.0.2"]
        assert main(["--status", "--root", root]) == 0
    finally:
        subprocess.run(["kill", (tmp_path / "doord.pid").read_text()], check=False)

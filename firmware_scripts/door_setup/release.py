"""Release: one version of everything that runs, in a folder of its own, and the symlink that chooses it.

/opt/door/releases/VERSION is a virtual environment that holds the pinned wheels and this project's own; the scripts
and units come inside the project's wheel, under share/open-door. `release.json` is written last: a folder without it
was left half built and is built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from door_setup.chroot import inside, is_within, mounted, seen
from door_setup.machine import Board, Machine, arch
from door_setup.plan import Step, Stop, WrongUsage, run
from door_setup.tree import Tree, link_step, sync_folder

HOME = "/opt/door"
CURRENT = f"{HOME}/current"
WORK = f"{HOME}/releases/.work"
SHARE = "share/open-door"
_VERSION = re.compile(r'^version = "(\d+\.\d+\.\d+)"$', re.MULTILINE)
_PARTS = ("pyproject.toml", "README.md", "LICENSE", "device", "sync", "firmware_scripts", "systemd")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the scripts and units were started from: a checkout, or a release.

    folder  holds firmware_scripts/ and systemd/
    """

    folder: Path

    @property
    def is_checkout(self) -> bool:
        return (self.folder / "pyproject.toml").is_file()

    @property
    def version(self) -> str:
        """Of what would be installed; Stop where neither a checkout nor a release is around the scripts."""
        if self.is_checkout:
            found = _VERSION.search((self.folder / "pyproject.toml").read_text(encoding="utf-8"))
            if found:
                return found[1]
        manifest = self.folder.parent.parent / "release.json"
        if manifest.is_file():
            return version_in(manifest)
        raise Stop(f"{self.folder}: neither a checkout nor a release; run the script where it was unpacked")

    def requirements(self, name: str) -> Path:
        return self.folder / "requirements" / name


def source_of(script: Path) -> Source:
    """The source that a module of this folder lies in."""
    return Source(script.resolve().parent.parent.parent)


def version_in(manifest: Path) -> str:
    """The version that a release.json names."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise WrongUsage(f"{manifest}: not the manifest of a release; build it anew") from None
    if not isinstance(found, str) or not re.fullmatch(r"\d+\.\d+\.\d+", found):
        raise WrongUsage(f"{manifest}: its version cannot be one")
    return found


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a release is made.

    requirements  which of the pinned files
    wheels        a folder of wheels to take instead of a package index
    """

    source: Source
    machine: Machine
    requirements: str
    wheels: Path | None = None


def place_of(version: str) -> str:
    return f"{HOME}/releases/{version}"


def build_step(tree: Tree, recipe: Recipe, is_anew: bool = False) -> Step:
    """Build the source's version into the tree. is_anew: although it is there."""
    place = place_of(recipe.source.version)
    digest = hashlib.sha256(recipe.source.requirements(recipe.requirements).read_bytes()).hexdigest()

    def is_done() -> bool:
        return not is_anew and _built(tree, place).get("requirements_sha256") == digest

    return Step(f"build the release {place} from requirements/{recipe.requirements}",
                "the daemons run from a folder of their own, so that an update can be undone", is_done,
                lambda: _build(tree, recipe, place, digest))


def copy_step(tree: Tree, folder: Path) -> Step:
    """Take over a release that was built elsewhere for this place."""
    version = version_in(folder / "release.json")
    place = place_of(version)

    def is_done() -> bool:
        return tree.read(f"{place}/release.json") == (folder / "release.json").read_bytes()

    def act() -> None:
        shutil.rmtree(tree.at(place), ignore_errors=True)
        fresh = tree.at(f"{HOME}/releases/.copied")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(folder, fresh, symlinks=True)
        _own(fresh)
        fresh.rename(tree.at(place))
        sync_folder(tree.at(place).parent)

    return Step(f"copy the release {place} from {folder}", "it was built elsewhere", is_done, act)


def current_steps(tree: Tree, version: str) -> list[Step]:
    """Make a release the current one; the one that was becomes the previous."""
    target = f"releases/{version}"

    def is_current() -> bool:
        return tree.at(CURRENT).is_symlink() and os.readlink(tree.at(CURRENT)) == target

    def keep() -> None:
        tree.link(f"{HOME}/previous", os.readlink(tree.at(CURRENT)))

    return [
        Step("keep the present release as previous", "it is what a roll-back returns to",
             lambda: is_current() or not tree.at(CURRENT).is_symlink(), keep),
        link_step(tree, CURRENT, target, "the services run what current points to"),
        link_step(tree, f"{HOME}/firmware", f"current/{SHARE}/firmware_scripts", "the current release's scripts"),
    ]


def installed_version(tree: Tree) -> str | None:
    """Version of the current release; None where nothing is installed."""
    manifest = tree.at(f"{CURRENT}/release.json")
    return version_in(manifest) if manifest.is_file() else None


def program(tree: Tree, name: str) -> list[str]:
    """How a program of the current release is called from outside the services."""
    path = seen(tree, f"{CURRENT}/bin/{name}")
    if is_within(tree) or name == "python":
        return inside(tree, [path])
    # Its first line names the interpreter where the tree's root will be.
    return [seen(tree, f"{CURRENT}/bin/python"), path]


def _built(tree: Tree, place: str) -> dict[str, object]:
    try:
        found = json.loads(tree.read(f"{place}/release.json") or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _build(tree: Tree, recipe: Recipe, place: str, digest: str) -> None:
    if not recipe.source.is_checkout:
        raise Stop(f"{recipe.source.folder}: a release cannot build another; run install from a checkout or a bundle")
    shutil.rmtree(tree.at(place), ignore_errors=True)
    tree.at(place).mkdir(parents=True)
    work = tree.at(WORK)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        wheel = _project_wheel(recipe, work)
        shutil.copy(recipe.source.requirements(recipe.requirements), work / "requirements.txt")
        if recipe.wheels is not None:
            shutil.copytree(recipe.wheels, work / "wheels")
        _fill(tree, recipe, place, wheel)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _own(tree.at(place))
    built = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    manifest = {"version": recipe.source.version, "built": built, "arch": arch(tree),
                "python": _python_of(tree, place), "requirements_sha256": digest}
    tree.write(f"{place}/release.json", (json.dumps(manifest, indent=1) + "\n").encode(), 0o644)


def _fill(tree: Tree, recipe: Recipe, place: str, wheel: Path) -> None:
    """The virtual environment at `place`, made by the tree's own programs where it has some."""
    folder, parts = seen(tree, place), seen(tree, WORK)
    site = ["--system-site-packages"] if recipe.machine.board is Board.PI else []
    pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    offline = ["--no-index", "--find-links", f"{parts}/wheels"] if recipe.wheels is not None else []
    with mounted(tree):
        for words in (
                [recipe.machine.python, "-m", "venv", *site, folder],
                [*pip, *offline, "--require-hashes", "--only-binary=:all:", "-r", f"{parts}/requirements.txt"],
                [*pip, "--no-index", "--no-deps", f"{parts}/{wheel.name}"]):
            run(inside(tree, words), is_shown=True)
    if not is_within(tree):
        move_first_lines(tree, place)


def _project_wheel(recipe: Recipe, work: Path) -> Path:
    """This project's own wheel, built from a copy: a build leaves its traces beside what it builds."""
    copy = work / "source"
    copy.mkdir()
    for name in _PARTS:
        part = recipe.source.folder / name
        if part.is_dir():
            shutil.copytree(part, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(part, copy / name)
    with tempfile.TemporaryDirectory() as scratch:
        # Built by this machine's interpreter also for another's tree: the wheel is the same for all.
        run([_own_python(recipe), "-m", "venv", scratch], is_shown=True)
        pip = [f"{scratch}/bin/python", "-m", "pip", "--disable-pip-version-check", "-q"]
        offline = ["--no-index", "--find-links", str(recipe.wheels)] if recipe.wheels is not None else []
        run([*pip, "install", *offline, "--require-hashes", "--only-binary=:all:", "-r",
             recipe.source.requirements("build.txt")], is_shown=True)
        run([*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", work, copy])
    return next(work.glob("open_door-*.whl"))


def _own_python(recipe: Recipe) -> str:
    return recipe.machine.python if Path(recipe.machine.python).exists() else "python3"


def move_first_lines(tree: Tree, place: str) -> None:
    """Let the scripts of a release that was made outside of the tree name their interpreter as it will be inside."""
    outside, within = str(tree.at(place)).encode(), place.encode()
    for script in [*tree.at(f"{place}/bin").iterdir(), tree.at(f"{place}/pyvenv.cfg")]:
        if script.is_symlink() or not script.is_file():
            continue
        text = script.read_bytes()
        if outside in text:
            script.write_bytes(text.replace(outside, within))


def _own(folder: Path) -> None:
    """Root's, and nobody else may write."""
    for base, folders, files in os.walk(folder):
        for path in (Path(base), *(Path(base) / name for name in (*folders, *files))):
            if os.geteuid() == 0:
                os.lchown(path, 0, 0)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o7755 | 0o444)


def _python_of(tree: Tree, place: str) -> str:
    return next(tree.at(f"{place}/lib").glob("python3.*")).name.removeprefix("python")

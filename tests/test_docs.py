"""Documentation cannot lie: generated parts are current, commands and files that are named exist."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from documentation import FIGURES, ROOT, readmes, subcommands, written

from device.cli import build_parser
from device.face.card import Card
from device.policy_file import parse_policy, review

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


CODE = re.MULTILINE | re.DOTALL


@pytest.mark.parametrize("path", readmes(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_generated_parts_of_a_readme_are_current(path: Path, pack: Card) -> None:
    text = path.read_text(encoding="utf-8")
    if os.environ.get("DOOR_WRITE_DOCS"):
        path.write_text(written(text), encoding="utf-8")
    assert written(text) == path.read_text(encoding="utf-8"), "run `make docs`"


@pytest.mark.parametrize("path", readmes(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_files_that_a_readme_names_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http", "mailto")):
            assert (path.parent / target).exists(), target


def test_every_command_that_a_readme_shows_exists() -> None:
    known = {name: {verb for verb, _, _ in subcommands(parser)} for name, parser, _ in subcommands(build_parser())}
    for path in readmes():
        shown = " ".join(re.findall(r"`[^`\n]+`|^    .*|^```.*?^```", path.read_text(encoding="utf-8"), CODE))
        for name, verb in re.findall(r"\bdoorctl ([a-z][a-z-]*)(?: ([a-z-]+))?", shown):
            assert name in known, f"{path}: doorctl {name}"
            if known[name] and verb:
                assert verb in known[name], f"{path}: doorctl {name} {verb}"


def test_the_example_of_a_policy_is_one() -> None:
    text = (ROOT / "device" / "door" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, CODE)
    found = parse_policy(tomllib.loads(example))
    assert review(found, frozenset({"staff", "lab", "visitors"})).warnings == ()


def test_every_mitigation_is_shown_by_a_test_that_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for row in text[text.index("## What stands against it"):].splitlines():
        if not row.startswith("| ") or row.startswith("| threat"):
            continue
        named = re.findall(r"`((?:faults/)?test_\w+\.py)::(\w+)`", row.split("|")[3])
        assert named, f"no test is named: {row}"
        for file, name in named:
            assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text(encoding="utf-8")), f"{file}::{name}"


def test_every_picture_that_a_readme_shows_is_there() -> None:
    for path in readmes():
        for name in re.findall(r"(?:!\[[^\]]*\]\(|src=\")([^)\":]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / name).is_file(), f"{path}: {name}"


def test_every_command_has_an_example_in_its_help() -> None:
    for name, parser, _ in subcommands(build_parser()):
        for one in (parser, *(sub for _, sub, _ in subcommands(parser))):
            assert one.epilog, f"{name}: {one.prog} has no example"
            assert re.match(r"example: (sudo (-u door )?)?doorctl ", one.epilog), one.prog


def test_make_targets_that_a_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    for path in readmes():
        for target in re.findall(r"`(?:DOOR_\w+=\S+ )*make ([a-z-]+)`", path.read_text(encoding="utf-8")):
            assert target in targets, f"{path}: make {target}"


def test_every_dependency_has_a_reason_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[<>=!;\[ ]", dependency)[0] for dependency in wanted}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Dependencies"):]
    told = set(re.findall(r"^\| `([\w-]+)` \|", section[: section.index("\n## ")], flags=re.MULTILINE))
    assert told == names


def test_the_example_in_the_readme_has_the_lines_that_the_show_prints() -> None:
    since = r".* frames, \d+ ms from the first usable frame to the "
    patterns = (r"hub: API at .*", r"rehearsal: .*", r"screen: .*", r"ready after [\d.]+ s: .*", r"-- .*",
                rf"REFUSED   {since}decision", rf"RELEASED  {since}relay",
                r"          (relay|lamp|buzzer|enrolled|removed|asked:) .*")
    for line in (FIGURES / "rehearsal.txt").read_text(encoding="utf-8").splitlines():
        assert any(re.fullmatch(pattern, line) for pattern in patterns), line


def test_no_file_names_a_place_of_one_machine() -> None:
    machine = re.compile("|".join((re.escape(str(ROOT)), "/ro" + "ot/", r"/ho" + r"me/\w+/")))
    for path in ROOT.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        if path.suffix in (".py", ".md", ".toml", ".txt", ".json") and not hidden:
            assert not machine.search(path.read_text(encoding="utf-8")), path

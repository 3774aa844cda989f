"""Makes bundles, keys and roots of trust: what `firmware_scripts/make_bundle` runs, on a build machine."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from device.clock import SystemClock
from device.commands.console import say
from device.errors import TerminalError, UsageError
from device.update.bundle import MANIFEST, REQUIREMENTS, WHEELS, Bundle, write_bundle
from device.update.making.keys import KeyFile, make_key, make_keys, read_keys
from device.update.making.pins import Target, pins_for
from device.update.making.signing import ROOT_DAYS, first_root, next_root, sign_bundle
from device.update.making.wheelhouse import build, fetch, installed_bytes, pin_of
from device.update.manifest import ARCHES, PYTHONS, Manifest, parse_manifest
from device.update.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DAYS = 180
PASSPHRASE = "DOOR_KEY_PASSPHRASE"  # noqa: S105 (the name of a variable)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except TerminalError as error:
        sys.stderr.write(f"make_bundle: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"make_bundle: {error.filename or 'a file'}: {error.strerror}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def run_keys(options: argparse.Namespace) -> int:
    """A set of keys and the first root."""
    made = moment()
    if not options.plain:
        secret = _new_passphrase(options)
    else:
        secret = None
        say("WARNING: the keys are written without a passphrase: whoever reads these files signs updates")
    paths = make_keys(options.folder, secret)
    keys = read_keys([options.folder], lambda path: secret or b"")
    root = options.folder / "1.root.json"
    root.write_bytes(first_root(keys, made, options.days))
    for path in (*paths, root):
        say(f"  {path}")
    say("Give 1.root.json to `firmware_scripts/install` as update-root.json. Take the keys apart: each root key and "
        "each targets key to another person and place.")
    return 0


def run_key(options: argparse.Namespace) -> int:
    """One key, to take the place of another."""
    make_key(options.file, None if options.plain else _new_passphrase(options))
    say(f"  {options.file}: name it with `make_bundle root --replace`")
    return 0


def run_root(options: argparse.Namespace) -> int:
    """The next root: other keys, or a later end."""
    roots = read_roots(options.roots)
    ask = _asked(options)
    replaced = {}
    for old, new in options.replace:
        before, after = _key(Path(old), ask), _key(Path(new), ask)
        replaced[before.signer.public_key.keyid] = after
    path = options.roots / f"{len(roots) + 1}.root.json"
    path.write_bytes(next_root(roots[-1], read_keys(options.keys, ask), replaced, moment(), options.days))
    say(f"  {path}: every bundle that is made from now on carries it to the terminals")
    return 0


def run_build(options: argparse.Namespace) -> int:
    """A bundle of this checkout for one kind of machine."""
    target, made = Target(options.arch, options.python), moment()
    roots, keys = read_roots(options.roots), read_keys(options.keys, _asked(options))
    sign_bundle(roots, keys, {}, made, options.days)  # what is missing is said before the wheels are fetched
    requirements = options.checkout / "requirements" / "terminal.txt"
    version = version_of(options.checkout)
    with tempfile.TemporaryDirectory(prefix="make-bundle-") as scratch:
        pins = pins_for(requirements.read_text(encoding="utf-8"), target)
        say(f"{len(pins)} pinned wheels for {target.arch}, Python {target.python}")
        wheels = fetch(pins, target, Path(scratch) / "wheels")
        ours = build(options.checkout, Path(scratch) / "ours", made)
        manifest = Manifest(version, options.min_version, target.arch, target.python, made,
                            hashlib.sha256(requirements.read_bytes()).hexdigest(), installed_bytes([*wheels, ours]))
        lines = "".join(pin.line() + "\n" for pin in (*pins, pin_of(ours))).encode()
        path = options.out / manifest.bundle_name
        assemble(path, manifest, lines, [*wheels, ours], lambda targets: sign_bundle(
            roots, keys, targets, made, options.days))
    return _shown(path)


def run_show(options: argparse.Namespace) -> int:
    """What is in a bundle; nothing of it is verified."""
    return _shown(options.file)


def assemble(path: Path, manifest: Manifest, requirements: bytes, wheels: Sequence[Path],
             sign: Callable[[dict[str, tuple[int, str]]], dict[str, bytes]]) -> None:
    """Write a bundle of these wheels."""
    parts: dict[str, bytes | Path] = {MANIFEST: manifest.to_json(), REQUIREMENTS: requirements,
                                      **{WHEELS + wheel.name: wheel for wheel in wheels}}
    whole = {name: part if isinstance(part, bytes) else part.read_bytes() for name, part in parts.items()}
    targets = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in whole.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(path, {**parts, **sign(targets)})


def read_roots(folder: Path) -> list[bytes]:
    """1.root.json and those that follow it."""
    roots: list[bytes] = []
    while (path := folder / f"{len(roots) + 1}.root.json").exists():
        roots.append(path.read_bytes())
    if not roots:
        raise UsageError(f"{folder}/1.root.json: no such file; `make_bundle keys` makes it")
    return roots


def version_of(checkout: Path) -> Version:
    """The release's version, from pyproject.toml."""
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    try:
        return Version.parse(tomllib.loads(text)["project"]["version"])
    except (ValueError, KeyError) as error:
        raise UsageError(f"pyproject.toml: {error}") from None


def moment() -> datetime:
    """When this is made, in whole seconds: SOURCE_DATE_EPOCH, so that a bundle can be made again, else now."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return SystemClock().now().replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(given), timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"SOURCE_DATE_EPOCH must be seconds since 1970, not {given[:40]!r}") from None


def _shown(path: Path) -> int:
    with Bundle.open(path) as bundle:
        manifest = parse_manifest(bundle.read(MANIFEST))
        say(f"{path}: release {manifest.version}, over {manifest.min_version} or newer, for {manifest.arch}, Python "
            f"{manifest.python}; made {manifest.built:%Y-%m-%d %H:%M} UTC; {manifest.installed_bytes >> 20} MiB "
            "installed")
        for part in bundle.parts.values():
            digest = hashlib.sha256()
            for block in bundle.blocks(part.name):
                digest.update(block)
            say(f"  {part.size:>11} {digest.hexdigest()[:16]} {part.name}")
    say(f"  {path.stat().st_size:>11} bytes in all")
    return 0


def _key(path: Path, ask: Callable[[Path], bytes]) -> KeyFile:
    found = {key.name: key for key in read_keys([path.parent], ask)}
    if path.name not in found:
        raise UsageError(f"{path}: no such key")
    return found[path.name]


def _asked(options: argparse.Namespace) -> Callable[[Path], bytes]:
    def ask(path: Path) -> bytes:
        given = _given(options)
        return given if given is not None else getpass.getpass(f"passphrase of {path}: ").encode()

    return ask


def _new_passphrase(options: argparse.Namespace) -> bytes:
    given = _given(options)
    if given is None:
        given = getpass.getpass("new passphrase: ").encode()
        if given != getpass.getpass("the same again: ").encode():
            raise UsageError("the two passphrases differ")
    if len(given) < 12:
        raise UsageError("a passphrase must have 12 characters at least; --plain writes keys without one")
    return given


def _given(options: argparse.Namespace) -> bytes | None:
    if options.passphrase_file is not None:
        return bytes(options.passphrase_file.read_bytes().splitlines()[0])
    return os.environ[PASSPHRASE].encode() if PASSPHRASE in os.environ else None


def _version(text: str) -> Version:
    try:
        return Version.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make_bundle", description="Make signed update bundles, and keys for them.",
                                     epilog="example: firmware_scripts/make_bundle build --keys keys --roots keys "
                                            "--arch aarch64 --python 3.11 --out dist")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_keys(verbs)
    _add_root(verbs)
    _add_build(verbs)
    show = verbs.add_parser("show", help="what is in a bundle (nothing is verified)",
                            epilog="example: make_bundle show open-door-1.2.0-aarch64-py3.11.bundle")
    show.add_argument("file", type=Path, metavar="FILE")
    show.set_defaults(run=run_show)
    return parser


def _add_keys(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    keys = verbs.add_parser("keys", help="make a set of keys and the first root of trust",
                            epilog="example: make_bundle keys keys/")
    keys.add_argument("folder", type=Path, metavar="DIR", help="a new folder")
    keys.add_argument("--days", type=int, default=ROOT_DAYS, metavar="N", help="how long the root holds")
    keys.set_defaults(run=run_keys)
    key = verbs.add_parser("key", help="make one key, to take the place of another",
                           epilog="example: make_bundle key targets-4.pem")
    key.add_argument("file", type=Path, metavar="FILE", help="a new file")
    key.set_defaults(run=run_key)
    for parser in (keys, key):
        _add_passphrase(parser)
        parser.add_argument("--plain", action="store_true", help="no passphrase")


def _add_root(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("root", help="make the next root of trust: other keys, or a later end",
                              epilog="example: make_bundle root --roots keys --keys a --keys b --replace "
                                     "a/targets-2.pem new/targets-4.pem")
    _add_signing(parser)
    parser.add_argument("--replace", nargs=2, action="append", default=[], metavar=("OLD", "NEW"),
                        help="a key and the one that takes its place")
    parser.add_argument("--days", type=int, default=ROOT_DAYS, metavar="N", help="how long it holds")
    parser.set_defaults(run=run_root)


def _add_build(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("build", help="make a bundle of this checkout",
                              epilog="example: make_bundle build --keys keys --roots keys --arch aarch64 "
                                     "--python 3.11 --out dist")
    _add_signing(parser)
    parser.add_argument("--arch", choices=ARCHES, required=True, help="the machine that it is for")
    parser.add_argument("--python", choices=PYTHONS, required=True, help="the Python that it is for")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="where to (default dist)")
    parser.add_argument("--min-version", type=_version, default=Version(0, 0, 0), metavar="X.Y.Z",
                        help="the oldest release that may be updated to it")
    parser.add_argument("--days", type=int, default=DAYS, metavar="N", help=f"how long it holds (default {DAYS})")
    parser.add_argument("--checkout", type=Path, default=Path(), metavar="DIR", help="the sources (default: here)")
    parser.set_defaults(run=run_build)


def _add_signing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--roots", type=Path, required=True, metavar="DIR", help="the folder with 1.root.json ...")
    parser.add_argument("--keys", type=Path, required=True, action="append", metavar="DIR",
                        help="a folder with keys; may be given more than once")
    _add_passphrase(parser)


def _add_passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE",
                        help=f"the keys' passphrase, else ${PASSPHRASE}, else it is asked for")


if __name__ == "__main__":
    sys.exit(main())

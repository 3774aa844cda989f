"""build_image: a whole system whose root is never written, and the two of them that a Raspberry Pi tries in turn."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from firmware_tree import ROOT, SCRIPTS, UNITS, Tree
from fresh_machine import FreshMachine, why_not

from device.face.card import Card
from device.packs import cache

from door_setup import disk_image, official, readonly  # isort: skip
from door_setup.machine import Board  # isort: skip
from door_setup.plan import Stop, carry_out  # isort: skip

CMDLINE = "console=serial0,115200 root=PARTUUID=1234-02 rootfstype=ext4 fsck.repair=yes rw quiet init=/resize\n"
LOOPBACK = ("0100007F:", "3500007F:", "3600007F:", "00000000000000000000000001000000:")
Backend = Callable[..., "subprocess.CompletedProcess[str]"]


def build(*words: str | Path, seconds: float = 100.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPTS / "build_image", *words], capture_output=True, text=True,
                          check=False, timeout=seconds, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


@pytest.fixture
def system(tmp_path: Path) -> Tree:
    """What a Raspberry Pi OS has that matters here."""
    tree = Tree(tmp_path / "system")
    for path in ("/var/lib/door", "/opt/door/releases/0.1.0", "/etc/door", "/etc/systemd/system", "/etc/credstore",
                 "/etc/credstore.encrypted", "/etc/NetworkManager/system-connections", "/boot/firmware/overlays"):
        tree.at(path).mkdir(parents=True)
    tree.at("/boot/firmware/config.txt").write_text("arm_64bit=1\n")
    tree.at("/boot/firmware/cmdline.txt").write_text(CMDLINE)
    tree.at("/boot/firmware/overlays/one.dtbo").write_bytes(b"overlay")
    tree.at("/etc/door/terminal.toml").write_text("[door]\n")
    tree.at("/opt/door/releases/0.1.0/release.json").write_text("{}")
    return tree


# --- the plan ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [("--debootstrap", "trixie"), ("--debootstrap", "jammy"),
                                    ("--image", "raspios.img")])
def test_a_dry_run_says_how_the_system_would_be_made(tmp_path: Path, source: tuple[str, str]) -> None:
    done = build(*source, "--into", tmp_path / "system", "--rehearsal", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(r"would (debootstrap (trixie|jammy) from|copy the system of raspios.img)", done.stdout)
    assert "would write /etc/fstab: the root is mounted read-only" in done.stdout
    assert ("systemd-resolved asks" in done.stdout) is ("trixie" in source)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "said"), [
    (("--image", "{0}/none.img", "--into", "{0}/s"), "no such file; unpack the image first"),
    (("--image", "{0}/text.img", "--into", "{0}/s"), "has no table of partitions"),
    (("--debootstrap", "bookworm", "--into", "/"), "--into must be a folder of its own")])
def test_what_cannot_be_built_from_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "text.img").write_text("x" * 1000)
    done = build(*(word.format(tmp_path) for word in words))
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


# --- the root that is never written --------------------------------------------------------------------------


def test_everything_that_changes_lies_on_the_data_partition_and_the_root_is_read_only(system: Tree) -> None:
    carry_out(readonly.steps(system, readonly.AB), is_dry_run=False)
    rows = [line.split() for line in system.at("/etc/fstab").read_text().splitlines() if not line.startswith("#")]
    mounted = {place: (device, options.split(",")) for device, place, _, options, *_ in rows}
    assert "ro" in mounted["/"][1] and "ro" in mounted["/boot/firmware"][1]
    for place in ("/var", "/opt/door", "/etc/door", "/etc/credstore", "/etc/credstore.encrypted",
                  "/etc/systemd/system", "/etc/NetworkManager/system-connections"):
        assert mounted[place][0].startswith("/data/")
    assert os.readlink(system.at("/etc/resolv.conf")) == "/run/NetworkManager/resolv.conf"
    words = system.at("/boot/firmware/cmdline.txt").read_text().split()
    assert {"root=PARTLABEL=root-a", "ro", "quiet"} <= set(words)
    assert not [word for word in words if word == "rw" or word.startswith(("init=", "root=PARTUUID"))]
    assert carry_out(readonly.steps(system, readonly.AB), is_dry_run=False) == 0


@pytest.mark.slow
@pytest.mark.skipif(bool(disk_image.missing_tools()), reason=f"not installed: {disk_image.missing_tools()}")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can keep owners")
def test_a_disk_image_holds_two_systems_each_with_a_root_of_its_own_and_the_data_once(system: Tree,
                                                                                      tmp_path: Path) -> None:
    image, parts = tmp_path / "door.img", disk_image.Parts(tmp_path / "door.img.parts")
    carry_out(readonly.steps(system, readonly.AB), is_dry_run=False)
    carry_out(disk_image.steps(system, image, parts.folder, Board.PI), is_dry_run=False)
    table = subprocess.run(["sfdisk", "--dump", image], capture_output=True, text=True, check=True).stdout
    assert re.findall(r'name="([\w-]+)"', table) == list(disk_image.PARTITIONS)
    for boot, letter in ((parts.boot, "a"), (parts.other_boot, "b")):
        words = subprocess.run(["mtype", "-i", boot, "::/cmdline.txt"], capture_output=True, text=True, check=True)
        assert f"root=PARTLABEL=root-{letter} " in words.stdout
    for root, letter in ((parts.root, "a"), (parts.other_root, "b")):
        assert f"PARTLABEL=boot-{letter} /boot/firmware" in _read(root, "/etc/fstab")
        assert not _read(root, "/opt/door/releases/0.1.0/release.json")
    assert _read(parts.data, "/opt-door/releases/0.1.0/release.json") == "{}"
    start = int(re.findall(r"start= *(\d+)", table)[3]) * 512
    with image.open("rb") as file:
        file.seek(start)
        assert file.read(1 << 20) == parts.root.read_bytes()[:1 << 20]


def _read(file: Path, path: str) -> str:
    """A file in an ext4 of its own."""
    return subprocess.run(["debugfs", "-R", f"cat {path}", file], capture_output=True, text=True, check=True).stdout


ALONE = b"\0" * 450 + b"\x0c" + b"\0" * 7 + b"\1" * 4 + b"\0" * 48  # a table with one partition


@pytest.mark.parametrize("head", [b"\0" * 510, b"\xff" * 510, ALONE])
def test_an_image_with_another_table_is_none_of_a_raspberry_pi(tmp_path: Path, head: bytes) -> None:
    image = tmp_path / "raspios.img"
    image.write_bytes(head + b"\x55\xaa")
    with pytest.raises(Stop, match="has not the two partitions"):
        official.partitions(image)


@pytest.mark.skipif(bool(disk_image.missing_tools()), reason=f"not installed: {disk_image.missing_tools()}")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount an image")
@pytest.mark.skipif("\tvfat\n" not in Path("/proc/filesystems").read_text(), reason="this kernel mounts no FAT")
def test_the_system_in_an_official_image_is_copied_out_of_it(system: Tree, tmp_path: Path) -> None:
    image, boot, root = (tmp_path / name for name in ("raspios.img", "boot", "root"))
    for file, mib in ((image, 96), (boot, 32)):
        file.touch()
        os.truncate(file, mib << 20)
    subprocess.run(["mkfs.vfat", boot], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mcopy", "-i", boot, system.at("/boot/firmware/cmdline.txt"), "::/"], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-d", system.root, root, "60M"], check=True)
    subprocess.run(["sfdisk", "--quiet", image], input=b"label: dos\nstart=2048,size=65536,type=c\n"
                   b"start=67584,size=122880,type=83\n", check=True)
    with image.open("r+b") as file:
        for begin, part in zip((1, 33), (boot, root), strict=True):
            file.seek(begin << 20)
            file.write(part.read_bytes())
    copy = Tree(tmp_path / "copy")
    copy.root.mkdir()
    official.check(image)
    official.copy_step(image, copy).act()
    assert copy.at("/boot/firmware/cmdline.txt").read_text() == CMDLINE
    assert copy.at("/etc/door/terminal.toml").read_text() == "[door]\n"
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_a_disk_image_is_for_the_raspberry_pi_alone(system: Tree, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_image, "missing_tools", list)
    with pytest.raises(Stop, match="keep the folder"):
        list(disk_image.steps(system, tmp_path / "door.img", tmp_path / "parts", Board.JETSON))


# --- the firmware's choice -----------------------------------------------------------------------------------


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    """RAUC's back end before a folder of its own; the firmware has started system A, or what `runs` says."""
    folder, tree = tmp_path / "select", tmp_path / "tree"
    folder.mkdir()
    tree.mkdir()
    (folder / "autoboot.txt").write_text(disk_image.AUTOBOOT)

    def call(*words: str, runs: int = 2) -> subprocess.CompletedProcess[str]:
        (tree / "partition").write_bytes(runs.to_bytes(4, "big"))
        return subprocess.run([sys.executable, UNITS / "rauc/tryboot-backend", *words], capture_output=True,
                              text=True, check=False,
                              env={"TRYBOOT_FOLDER": str(folder), "TRYBOOT_DEVICE_TREE": str(tree)})

    return call


def test_a_system_that_was_written_is_tried_once_and_stays_only_when_marked_good(backend: Backend,
                                                                                 tmp_path: Path) -> None:
    chosen = tmp_path / "select/autoboot.txt"
    assert backend("get-primary").stdout == "A\n"
    assert backend("set-primary", "B").returncode == 0
    assert backend("get-primary").stdout == "B\n"
    assert chosen.read_text() == disk_image.AUTOBOOT, "the firmware still starts A by itself"
    assert backend("get-current", runs=3).stdout == "B\n"
    assert backend("set-state", "B", "good", runs=3).returncode == 0
    assert chosen.read_text() == "[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n"
    assert backend("get-primary", runs=3).stdout == "B\n"
    assert not (tmp_path / "select/try").exists()


def test_a_system_that_was_found_bad_is_not_tried_again(backend: Backend, tmp_path: Path) -> None:
    backend("set-primary", "B")
    backend("set-state", "B", "bad")
    assert backend("get-primary").stdout == "A\n"
    assert backend("get-state", "B").stdout == "bad\n"
    assert (tmp_path / "select/autoboot.txt").read_text() == disk_image.AUTOBOOT


def test_nonsense_from_rauc_or_in_the_firmwares_file_is_refused(backend: Backend, tmp_path: Path) -> None:
    assert backend("set-primary", "C").returncode == 2
    assert backend("set-state", "A", "fine").returncode == 2
    (tmp_path / "select/autoboot.txt").write_text("[tryboot]\nboot_partition=3\n")
    done = backend("get-primary")
    assert (done.returncode, "names no boot_partition" in done.stderr) == (1, True)


def test_rauc_knows_the_partitions_that_the_image_has() -> None:
    found = configparser.ConfigParser()
    found.read(UNITS / "rauc/system.conf")
    devices = {Path(found[section]["device"]).name for section in found if section.startswith("slot.")}
    assert devices == set(disk_image.PARTITIONS) - {"select", "data"}
    manifest = configparser.ConfigParser()
    manifest.read(UNITS / "rauc/manifest.raucm.in")
    assert manifest["update"]["compatible"] == found["system"]["compatible"]
    parts = disk_image.Parts(Path())
    assert {manifest["image.rootfs"]["filename"], manifest["image.boot"]["filename"]} == {
        parts.root.name, parts.boot.name}


# --- a system for real ---------------------------------------------------------------------------------------


def wheels_for_bookworm(folder: Path) -> Path:
    """The pinned wheels of a release, and what builds this project's own."""
    lists = [word for name in ("terminal", "build") for word in ("-r", ROOT / "requirements" / f"{name}.txt")]
    done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--require-hashes", "--only-binary=:all:",
                           "--python-version", "3.11", "-d", folder, *lists], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        pytest.skip(f"the pinned wheels cannot be had: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_debian_made_from_nothing_starts_and_opens_the_door(tmp_path: Path, pack: Card) -> None:
    if shutil.which("debootstrap") is None:
        pytest.skip("debootstrap is not installed")
    if reason := why_not():
        pytest.skip(reason)
    system = tmp_path / "system"
    done = build("--debootstrap", "bookworm", "--into", system, "--rehearsal", "--wheels",
                 wheels_for_bookworm(tmp_path / "wheels"), "--cache", cache.cache_folder(), seconds=1500)
    if "debootstrap" in done.stderr:
        pytest.skip(f"Debian cannot be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert f" {system}/" not in Path("/proc/mounts").read_text()
    with FreshMachine(lower=system) as machine:
        machine.wait_for(lambda: "Welcome" in machine.run("doorctl", "journal", is_checked=False).stdout, "doord")
        for unit in ("door-data.service", "door-relay.service", "doord.service", "door-update.path",
                     "systemd-networkd.service", "systemd-resolved.service"):
            assert machine.is_active(unit), machine.log(unit)
        assert not [address for address in listening(machine) if not address.startswith(LOOPBACK)]


def listening(machine: FreshMachine) -> Iterator[str]:
    """Where something listens, as the kernel writes addresses."""
    for kind, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for row in machine.run("cat", f"/proc/net/{kind}").stdout.splitlines()[1:]:
            if row.split()[3] == state:
                yield row.split()[1]

"""The units: verified by systemd itself, as closed as they say, and tied to one another as the faults ask for it."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from firmware_tree import UNITS, Tree

from device.config import read_config
from device.face.card import Card

from door_setup import checks, credential, services, unit_file  # isort: skip
from door_setup.plan import Stop  # isort: skip

NAMES = (*services.TERMINAL, *services.HUB)
SERVICES = tuple(name for name in NAMES if name.endswith(".service"))
EXPOSURE = {
    "doord.service": 2.0, "door-relay.service": 1.5, "door-syncd.service": 1.5, "fleethub.service": 1.5,
    "door-update.service": 4.0, "door-trial.service": 4.0, "door-judge.service": 4.0, "door-time.service": 4.0,
    "door-reset.service": 4.0, "door-first.service": 4.0, "door-kiosk.service": 4.0}
PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN = 65, 1

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts in a tree")


def settings_of(name: str) -> list[unit_file.Setting]:
    return list(unit_file.settings((UNITS / name).read_text(encoding="utf-8")))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree that holds the units and nothing else."""
    found = Tree(tmp_path)
    found.at(services.UNITS).mkdir(parents=True)
    for name in NAMES:
        shutil.copy(UNITS / name, found.at(services.UNITS))
    return found


# --- what systemd says of them -------------------------------------------------------------------------------


def test_every_unit_of_the_folder_is_installed_with_a_reason_and_no_other() -> None:
    suffixes = {".service", ".path", ".timer", ".target"}
    there = {path.name for path in UNITS.iterdir() if path.suffix in suffixes}
    assert there == set(NAMES)
    assert all(services._REASONS[name] for name in NAMES)


def test_the_preset_switches_on_what_the_installation_does() -> None:
    rows = [line.split() for line in (UNITS / "70-door.preset").read_text().splitlines() if line[:1] not in "#"]
    assert {name for _, name in rows} == {name for name in NAMES if any(
        setting.section == "Install" for setting in settings_of(name))}
    assert {name for verb, name in rows if verb == "disable"} == {"door-kiosk.service", "fleethub.service"}


@needs_analyze
def test_systemd_finds_nothing_to_say_of_any_unit(tree: Tree) -> None:
    services.verify(tree, NAMES)


@needs_analyze
def test_a_misspelt_setting_stops_the_installation(tree: Tree) -> None:
    unit = tree.at(f"{services.UNITS}/doord.service")
    unit.write_text(unit.read_text().replace("ProtectSystem=", "ProtectSytem="))
    with pytest.raises(Stop, match="ProtectSytem"):
        services.verify(tree, NAMES)


@needs_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_more_exposed_than_it_may_be(name: str) -> None:
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / name],
                          capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found is not None, said[-500:]
    assert float(found[1]) <= EXPOSURE[name]


# --- what the faults ask for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*SERVICES} - {"door-reset.service", "fleethub.service"}))
def test_nothing_of_the_door_starts_before_a_reset_has_ended(name: str) -> None:
    """The hub of a fleet is no part of the terminal, and a reset of that leaves it alone."""
    conditions = unit_file.values(settings_of(name), "ConditionPathExists", "Unit")
    assert "!/var/lib/door/.resetting" in conditions
    before = " ".join(unit_file.values(settings_of("door-reset.service"), "Before", "Unit")).split()
    after = " ".join(unit_file.values(settings_of(name), "After", "Unit")).split()
    assert name in before or "door-reset.service" in after


@pytest.mark.parametrize("name", ["doord.service", "door-relay.service", "door-syncd.service", "door-kiosk.service",
                                  "fleethub.service"])
def test_a_daemon_is_started_again_for_ever_and_leaves_no_core(name: str) -> None:
    found = settings_of(name)
    assert unit_file.value(found, "Restart") == "always"
    assert unit_file.value(found, "StartLimitIntervalSec", "Unit") == "0"
    assert unit_file.value(found, "LimitCORE") == "0"


def test_longer_pauses_between_restarts_are_asked_for_only_where_systemd_knows_them(tree: Tree) -> None:
    def written(version: int) -> list[str]:
        return [step.what for step in services.unit_steps(tree, UNITS, NAMES, version) if "backoff" in step.what]

    assert written(252) == []
    assert len(written(257)) == len(services.BACKED_OFF)


@pytest.mark.parametrize("name", ["doord.service", "door-relay.service", "door-syncd.service", "fleethub.service"])
def test_a_daemon_that_says_when_it_is_ready_is_waited_for(name: str) -> None:
    assert unit_file.value(settings_of(name), "Type") == "notify"


def test_a_doord_that_hangs_is_killed_within_ten_seconds_and_without_asking() -> None:
    found = settings_of("doord.service")
    assert (unit_file.value(found, "WatchdogSec"), unit_file.value(found, "WatchdogSignal")) == ("10", "SIGKILL")


def test_the_relay_depends_on_no_other_daemon() -> None:
    for setting in settings_of("door-relay.service"):
        if setting.key in ("Requires", "BindsTo", "Requisite", "PartOf", "Wants"):
            assert setting.value == "door.target"
    assert "door-relay.service" in unit_file.value(settings_of("doord.service"), "Wants", "Unit")
    assert not unit_file.values(settings_of("doord.service"), "Requires", "Unit")


def test_who_has_the_network_has_no_camera_and_who_has_the_camera_no_network() -> None:
    doord, relay, syncd = (settings_of(f"{name}.service") for name in ("doord", "door-relay", "door-syncd"))
    assert unit_file.value(doord, "IPAddressDeny") == "any"
    assert unit_file.values(doord, "IPAddressAllow") == ["localhost"]
    assert unit_file.value(relay, "PrivateNetwork") == "yes"
    assert unit_file.value(relay, "RestrictAddressFamilies") == "AF_UNIX"
    assert unit_file.value(syncd, "PrivateDevices") == "yes"
    assert "-/run/door/relay.sock" in unit_file.value(syncd, "InaccessiblePaths").split()
    assert not unit_file.values(relay, "LoadCredential")


def test_doord_is_given_no_key_of_the_links_and_the_relay_none_at_all(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for name in (credential.TERMINAL_KEY, *credential.KEYS_OF_LINK):
        tree.write(f"/etc/credstore/{name}", b"k" * 32, 0o600)
    store = credential.Store(tree, credential.Way.CLEAR)
    assert [name for _, name, _ in store.loaded("doord")] == ["terminal-key", "sealing.key"]
    assert [name for _, name, _ in store.loaded("door-syncd")] == [
        "terminal-key", "signing.key", "sealing.key", "tls.key"]
    assert "door-relay" not in credential.READERS


_INFER = """
import ctypes, mmap, sys
assert ctypes.CDLL(None).prctl({set_mdwe}, {refuse}, 0, 0, 0) == 0
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("pages may be written and run all the same")
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import DOOR
from device.packs.archives import portrait
from device.packs.library import open_pack
from device.rehearsal.people import SITTER, people_of
from device.rehearsal.stage import enrolment_photo
models = Models.load(open_pack(None))
people = people_of(portrait(), models.finder, models.landmarks)
Examiner(models, DOOR).one(enrolment_photo(people, SITTER), "the sitter")
"""


def test_the_inference_runtime_needs_no_page_that_is_written_and_run(pack: Card) -> None:
    """What MemoryDenyWriteExecute= of doord.service refuses, refused by the kernel itself."""
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:  # PR_GET_MDWE
        pytest.skip("this kernel cannot refuse such pages by itself (Linux 6.3 and later can)")
    done = subprocess.run([sys.executable, "-c", _INFER.format(set_mdwe=PR_SET_MDWE, refuse=MDWE_REFUSE_EXEC_GAIN)],
                          capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr[-1500:]


# --- accounts, folders, devices ------------------------------------------------------------------------------


@needs_root
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_accounts_and_folders_keep_the_daemons_apart(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for step in services.account_steps(tree, UNITS):
        assert not step.is_done()
        step.act()
        assert step.is_done(), step.what
    assert "door-sync" not in tree.members("door")  # whose members may order the relay
    assert {"door-gallery", "door-journal", "door-run"} == {
        group for group in ("door", "door-gallery", "door-journal", "door-run", "video", "gpio", "input")
        if "door-sync" in tree.members(group)}
    assert not tree.members("door-gallery") - {"door", "door-sync"}
    for path, (mode, owner) in checks.RIGHTS.items():
        if path != checks.CONFIGURATION:
            assert tree.is_as(path, mode, owner), path


def test_devices_are_given_to_groups_that_the_door_is_in() -> None:
    text = (UNITS / "sysusers.d/door.conf").read_text()
    groups = {line.split()[2] for line in text.splitlines() if line.startswith("m door ")}
    rules = (UNITS / "udev/70-door.rules").read_text()
    assert set(re.findall(r'GROUP="(\w+)"', rules)) <= groups
    assert set(re.findall(r'MODE="(\d+)"', rules)) == {"0660"}


def test_the_example_of_a_configuration_is_one() -> None:
    assert read_config(UNITS / "terminal.toml").door.id == "front-door"


def test_the_hardware_watchdog_is_fed_more_often_than_the_raspberry_pi_allows() -> None:
    text = (UNITS / "system.conf.d/door-watchdog.conf").read_text()
    found = re.search(r"^RuntimeWatchdogSec=(\d+)$", text, re.MULTILINE)
    assert found is not None and int(found[1]) < 15

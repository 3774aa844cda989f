"""install: from a bare board to running services, tried in a tree and on a machine of its own.

"Running" means running: the units' own command lines are started by hand, with the environment and the credentials
that the units name, until the rehearsal has opened the door for the person who is enrolled.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from firmware_tree import ROOT, Tree, contents, release_once, run_script
from fresh_machine import FreshMachine, why_not
from hand_started import HandStarted

from device.face.card import Card
from device.hardware.orders import Said, read_ack
from device.packs import cache
from device.update.release import read_release

CAMERA_LOST = '[door]\nlock = "strike"\n[camera]\nsource = "usb:9"\n'


@pytest.fixture(scope="module")
def built() -> Path:
    """A release of this checkout."""
    return release_once()


@pytest.fixture(scope="module")
def installed(built: Path, pack: Card, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a rehearsal and a hub in it."""
    root = tmp_path_factory.mktemp("t")
    done = run_script("install", "--rehearsal", "--hub", *given(built), root=root)
    assert "By hand, as root, each daemon in a shell of its own:" in done.stdout
    return root


@pytest.fixture
def bare(built: Path, pack: Card, tmp_path: Path) -> Path:
    """A tree with a terminal whose camera is not there, as an image has it."""
    config, root = tmp_path / "terminal.toml", tmp_path / "t"
    config.write_text(CAMERA_LOST)
    root.mkdir()
    run_script("install", "--config", config, *given(built), root=root)
    return root


def given(built: Path | None) -> tuple[str | Path, ...]:
    """What spares an installation the network."""
    return (*(("--release", built) if built else ()), "--cache", cache.cache_folder())


def state_of(root: Path, name: str = "status.json") -> dict[str, object]:
    try:
        found = json.loads((root / "var/lib/door" / name).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def program(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A program of the tree's release, with the hub's key and folders."""
    place = root / "opt/door/current/bin"
    environment = {"PATH": os.environ["PATH"], "FLEETHUB_STATE": str(root / "var/lib/fleethub"),
                   "CREDENTIALS_DIRECTORY": str(root / "etc/credstore"), "DOOR_STATE": str(root / "var/lib/door"),
                   "DOOR_CACHE": str(root / "var/cache/door")}
    return subprocess.run([place / "python", place / words[0], *words[1:]], env=environment, capture_output=True,
                          text=True, check=False, timeout=100)


# --- what is laid out ----------------------------------------------------------------------------------------


def test_a_dry_run_says_what_it_would_do_and_why_and_changes_nothing(tmp_path: Path) -> None:
    said = run_script("install", "--rehearsal", "--dry-run", root=tmp_path).stdout
    assert not list(tmp_path.iterdir())
    assert re.search(r"would build the release /opt/door/releases/[\d.]+ from requirements/terminal.txt: the ", said)
    assert "would make the accounts: no daemon is root" in said


def test_a_second_run_changes_nothing_and_says_so(installed: Path, built: Path) -> None:
    before = contents(installed)
    said = run_script("install", "--rehearsal", "--hub", *given(built), root=installed).stdout
    ends = re.findall(r"^.*(?:changed something|nothing to change).*$", said, re.MULTILINE)
    assert ends == ["nothing to change"] * 2
    assert contents(installed) == before


def test_the_release_is_one_that_updates_recognise(installed: Path) -> None:
    folder = installed / "opt/door/current"
    assert os.readlink(folder) == f"releases/{folder.resolve().name}"
    found = read_release(folder.resolve())
    assert found is not None
    assert str(found.version) == folder.resolve().name
    first_line = (folder / "bin/doord").read_text().splitlines()[0]
    assert first_line == f"#!/opt/door/releases/{found.version}/bin/python"
    assert (installed / "opt/door/firmware/install").is_file()


def test_every_file_of_the_checkout_that_a_terminal_needs_is_in_the_release(installed: Path) -> None:
    share = installed / "opt/door/current/share/open-door"
    for folder in ("systemd", "firmware_scripts/door_setup"):
        wanted = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*")
                  if path.is_file() and "__pycache__" not in path.parts}
        assert {path.relative_to(share) for path in (share / folder).rglob("*")
                if path.is_file() and "__pycache__" not in path.parts} == wanted


def test_without_a_configuration_nothing_is_begun(tmp_path: Path, built: Path) -> None:
    done = run_script("install", "--release", built, root=tmp_path, is_checked=False)
    assert done.returncode == 2
    assert done.stderr.startswith("install: /etc/door/terminal.toml: there is none yet;")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "said"), [
    ('[door]\nlock = "stri', "terminal.toml"),
    ('[door]\nlock = "strike"\nrelaese_s = 5\n', "did you mean release_s?"),
    ('[camera]\nfps = 30\n', "door.lock is missing"),
    ("\0" * 100, "terminal.toml"),
    ("#" * 300_000, "too large")])
def test_a_half_written_configuration_is_refused_and_the_old_one_stays(installed: Path, built: Path, tmp_path: Path,
                                                                       text: str, said: str) -> None:
    given, there = tmp_path / "terminal.toml", installed / "etc/door/terminal.toml"
    given.write_text(text)
    before = there.read_bytes()
    done = run_script("install", "--hub", "--release", built, "--config", given, root=installed, is_checked=False)
    assert (done.returncode, there.read_bytes()) == (2, before)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((installed / "etc/door").glob(".judged*"))


def test_a_network_camera_opens_one_address_and_a_name_is_refused() -> None:
    from door_setup.configuration import Configuration, dropin
    from door_setup.machine import Board
    from door_setup.plan import WrongUsage

    def of(source: str, **reader: str) -> str:
        return dropin(Configuration({"camera": {"source": source}, "reader": reader}), Board.OTHER).decode()

    assert "IPAddressAllow=192.168.7.9\n" in of("rtsp://eye:secret@192.168.7.9:8554/live")
    assert "IPAddressAllow=2001:db8::9\n" in of("rtsp://[2001:db8::9]/live")
    assert "secret" not in of("rtsp://eye:secret@192.168.7.9/live")
    assert "IPAddressAllow" not in of("usb:0")
    assert "DeviceAllow=char-ttyUSB rw" in of("usb:0", osdp="/dev/ttyUSB0")
    assert "DeviceAllow=char-input r\n" in of("usb:0", usb="/dev/input/by-id/usb-x-event-kbd")
    with pytest.raises(WrongUsage, match="address"):
        of("rtsp://camera.invalid/live")


def test_a_hub_alone_has_no_terminal_beside_it(tmp_path: Path, built: Path, pack: Card) -> None:
    run_script("install", "--hub", "--no-terminal", *given(built), root=tmp_path)
    units = {path.name for path in (tmp_path / "etc/systemd/system").iterdir()}
    assert "fleethub.service" in units
    assert not units & {"doord.service", "door-relay.service", "door-syncd.service"}
    done = run_script("install", "--no-terminal", root=tmp_path, is_checked=False)
    assert (done.returncode, "say --hub as well" in done.stderr) == (2, True)


def test_an_image_has_no_key_and_each_board_makes_its_own(bare: Path, tmp_path: Path) -> None:
    assert not (bare / "etc/credstore/terminal-key").exists()
    keys = []
    for name in ("one", "other"):
        board = shutil.copytree(bare, tmp_path / name, symlinks=True)
        run_script("install", "--first-boot", root=board)
        keys.append((board / "etc/credstore/terminal-key").read_bytes())
        assert "LoadCredential=terminal-key:" in (
            board / "etc/systemd/system/doord.service.d/credentials.conf").read_text()
        before = contents(board)
        run_script("install", "--first-boot", root=board)
        assert contents(board) == before
    assert len(set(keys)) == 2
    assert {len(key) for key in keys} == {32}


# --- the units' own command lines ----------------------------------------------------------------------------


def test_the_units_own_command_lines_open_the_door_and_the_relay_outlives_a_doord_that_hangs(installed: Path) -> None:
    with HandStarted(installed, "door-relay") as relay, HandStarted(installed, "doord") as doord:
        relay.ready()
        doord.ready()
        doord.wait_for(lambda: state_of(installed).get("relay_pulses", 0), "the door never opened")
        doord.wait_for(lambda: any("WATCHDOG=1" in notice for notice in doord.notices), "no sign of life")
        status = state_of(installed)
        assert (status["people"], status["relay_alive"], status["door_id"]) == (1, True, "rehearsal")
        said = program(installed, "doorctl", "journal", "--last", "50").stdout
        assert re.search(r"release +Welcome +person [0-9a-f]{32}", said)
        doord.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # more than the second that the rehearsal releases the door for
        assert relay.process.poll() is None
        doord.process.kill()
        doord.process.wait()
        assert _first_word_of(installed / "run/door/relay.sock") == (Said.READY, False)


def _first_word_of(path: Path) -> tuple[Said, bool]:
    """What the relay says to the next who calls: that it obeys, and whether it is on."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        channel.settimeout(30)
        channel.connect(str(path))
        ack = read_ack(channel.recv(64))
    assert ack is not None
    return ack.said, ack.is_on


def test_a_terminal_provisioned_at_a_hub_of_this_machine_is_connected(installed: Path) -> None:
    (installed / "etc/door/hub.environment").write_text("FLEETHUB_OPTIONS=--with-broker --listen 127.0.0.1:0\n")
    with HandStarted(installed, "fleethub") as hub:
        hub.ready()
        hub.wait_for(lambda: any("hub runs" in line for line in hub.said), "the hub does not run")
        address = re.search(r"https://127\.0\.0\.1:\d+", next(line for line in hub.said if "hub runs" in line))
        assert address is not None
        code = program(installed, "fleethub", "terminal", "add", "door-1", "--group", "everyone").stdout.split()[-1]
        words = ("--hub", address[0], "--ca", installed / "var/lib/fleethub/run/ca.pem", "--code", code)
        said = run_script("provision", *words, root=installed).stdout
        assert f"tied to {address[0]}" in said
        try:
            with HandStarted(installed, "door-syncd") as syncd:
                syncd.ready()
                syncd.wait_for(lambda: state_of(installed, "sync.json").get("is_up"), "it does not connect")
            used = run_script("provision", *words, "--again", root=installed, is_checked=False)
            assert (used.returncode, "fleethub terminal code" in used.stderr) == (1, True)
        finally:
            (installed / "etc/door/link.toml").unlink()


def test_without_a_camera_doord_is_ready_and_says_what_is_missing(bare: Path) -> None:
    run_script("install", "--first-boot", root=bare)
    (bare / "etc/door/environment").write_text("GPIOZERO_PIN_FACTORY=mock\nDOOR_CACHE=/var/cache/door\n")
    with HandStarted(bare, "door-relay") as relay, HandStarted(bare, "doord") as doord:
        relay.ready()
        doord.ready()
        doord.wait_for(lambda: "camera_lost" in str(state_of(bare).get("degraded")), "it does not miss its camera")
        assert state_of(bare)["phase"] == "secure"
    assert doord.process.returncode == relay.process.returncode == 0


def test_without_a_broker_door_syncd_is_ready_and_goes_on_trying(installed: Path, tmp_path: Path) -> None:
    from device.store.trust import Opener
    from sync.wire.csr import new_tls_key
    from sync.wire.sign import Signer

    link, keys = installed / "etc/door/link.toml", installed / "etc/credstore"
    Tree(installed).at("/var/lib/door/link").mkdir(exist_ok=True)
    for name, key in (("signing.key", Signer.new().private_bytes()), ("sealing.key", Opener.new().private_bytes()),
                      ("tls.key", new_tls_key())):
        (keys / name).write_bytes(key)
    link.write_text(f'terminal_id = "t"\nsite = "s"\nbroker_host = "127.0.0.1"\nbroker_port = 9\nhub_url = ""\n'
                    f'hub_signing = ["{"ab" * 32}"]\nhub_sealing = "{"cd" * 32}"\nkey = "{keys / "tls.key"}"\n')
    dropin = installed / "etc/systemd/system/door-syncd.service.d/credentials.conf"
    dropin.parent.mkdir(exist_ok=True)
    dropin.write_text("[Service]\n" + "".join(f"LoadCredential={name}:/etc/credstore/{name}\n" for name in (
        "terminal-key", "signing.key", "sealing.key", "tls.key")))
    try:
        with HandStarted(installed, "door-syncd") as syncd:
            syncd.ready()
            syncd.wait_for(lambda: state_of(installed, "sync.json").get("is_up") is False, "it says nothing")
            assert syncd.process.poll() is None
    finally:
        link.unlink()


# --- a machine of its own ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_install_yields_running_services_on_a_machine_that_systemd_runs(tmp_path: Path, pack: Card) -> None:
    if reason := why_not():
        pytest.skip(reason)
    # With its own pinned wheels, by the system's Python, as on any machine; the services' accounts must reach both.
    run_script("install", "--rehearsal", "--hub", *given(None), root=tmp_path, seconds=600)
    built = (tmp_path / "opt/door/current").resolve()
    with FreshMachine(shared=(tmp_path,)) as machine:
        install = ("/usr/bin/python3", str(ROOT / "firmware_scripts/install"), "--rehearsal", "--hub",
                   *map(str, given(built)))
        machine.run(*install)
        for unit in ("door-relay.service", "doord.service", "fleethub.service", "door-update.path"):
            assert machine.is_active(unit), machine.log(unit)
        assert machine.run(*install).stdout.count("nothing to change") == 3
        _opens(machine)
        _survives(machine)
        _is_provisioned(machine)
        _is_reset(machine)


def _opens(machine: FreshMachine) -> None:
    """In the sandbox, for the person who is enrolled; and nobody but root reads what it keeps."""
    machine.wait_for(lambda: "Welcome" in machine.run("doorctl", "journal").stdout, "doord")
    for account in ("door-sync", "door-kiosk", "nobody"):
        for path in ("/etc/credstore.encrypted/terminal-key", "/etc/door/terminal.toml", "/run/door/relay.sock"):
            tried = machine.run("runuser", "-u", account, "--", "test", "-w", path, is_checked=False)
            assert tried.returncode == 1, (account, path)


def _survives(machine: FreshMachine) -> None:
    """A doord that hangs is killed by the watchdog and comes back; the relay never notices."""
    def pid(unit: str) -> str:
        return machine.run("systemctl", "show", "-p", "MainPID", "--value", unit).stdout.strip()

    relay, doord = pid("door-relay"), pid("doord")
    machine.run("kill", "-STOP", doord)
    machine.wait_for(lambda: pid("doord") not in (doord, "0") and machine.is_active("doord"), "doord")
    assert pid("door-relay") == relay


def _is_provisioned(machine: FreshMachine) -> None:
    machine.wait_for(lambda: _is_there(machine, "/var/lib/fleethub/run/api.pem"), "fleethub")
    code = machine.run("fleethub", "terminal", "add", "door-1", "--group", "everyone").stdout.split()[-1]
    machine.run("/opt/door/firmware/provision", "--hub", "https://127.0.0.1:8443", "--ca",
                "/var/lib/fleethub/run/ca.pem", "--code", code)
    machine.wait_for(lambda: "connected to" in machine.run("door-syncd", "status", is_checked=False).stdout,
                     "door-syncd")
    keys = machine.run("ls", "/etc/credstore.encrypted").stdout.split()
    assert keys == ["fleethub-key", "sealing.key", "signing.key", "terminal-key", "tls.key"]
    assert not machine.run("ls", "/etc/credstore").stdout
    table = machine.run("/opt/door/firmware/selftest", "--json", is_checked=False).stdout
    rows = {row["name"]: row for row in json.loads(table)}
    assert rows["keys"]["verdict"] == "ok"
    assert not [row for row in rows.values() if row["verdict"] == "fail"], rows


def _is_reset(machine: FreshMachine) -> None:
    """By the service, which is there should the shell go away; afterwards nobody is known and no hub."""
    machine.run("/opt/door/firmware/factory_reset", "--yes", "--keep-config")
    machine.wait_for(lambda: machine.is_active("doord"), "door-reset")
    assert machine.run("doorctl", "person", "list", "--json").stdout.strip() == "[]"
    assert not _is_there(machine, "/etc/door/link.toml")
    assert not machine.is_active("door-syncd")
    # A flag that a cut has left: nothing starts, and the reset goes on by itself.
    machine.run("systemctl", "stop", "door.target", "door-reset.path")
    machine.run("sh", "-c", "echo '{}' >/var/lib/door/.resetting")
    machine.run("systemctl", "start", "--no-block", "doord.service")
    time.sleep(1)
    assert not machine.is_active("doord")
    machine.run("systemctl", "start", "door-reset.path")
    machine.wait_for(lambda: not _is_there(machine, "/var/lib/door/.resetting"), "door-reset")


def _is_there(machine: FreshMachine, path: str) -> bool:
    return machine.run("test", "-e", path, is_checked=False).returncode == 0

"""The relay's process: obeys until T, falls by itself, falls with doord, and refuses everything else."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory
from patience import SLOWER

from device.clock import HandClock, SystemClock
from device.errors import HardwareMissing
from device.hardware.coil import Coil
from device.hardware.link import HandRelay, RelayLink
from device.hardware.orders import (
    ACK_SIZE,
    MOST_S,
    ORDER_SIZE,
    Ack,
    Order,
    Said,
    pack_ack,
    pack_order,
    read_ack,
    read_order,
)
from device.hardware.pins import open_output

PIN = 17
SIGNALLED = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL}


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Iterator[RelayLink]:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    relay = RelayLink(PIN, False, SystemClock())
    relay.start()
    yield relay
    relay.close()


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes to hold; waits generously, since the machine may be busy."""
    end = time.monotonic() + seconds * SLOWER
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.005)
    return False


def heard(relay: RelayLink, count: int) -> list[Ack]:
    """The next `count` acknowledgements."""
    got: list[Ack] = []
    assert eventually(lambda: len(got.extend(relay.acks()) or got) >= count), f"only {got}"  # type: ignore[func-returns-value]
    return got


# --- the process -----------------------------------------------------------------------------------------


def test_an_order_switches_on_and_the_deadline_switches_off_by_itself(link: RelayLink) -> None:
    seq = link.release(0.2)
    ready, on, off = heard(link, 3)
    assert ready.said is Said.READY
    assert (on.said, on.seq, on.is_on) == (Said.SWITCHED, seq, True)
    assert (off.said, off.is_on) == (Said.DEADLINE, False)
    assert off.mono >= on.until


def test_secure_switches_off_at_once(link: RelayLink) -> None:
    link.release(30)
    seq = link.secure()
    off = heard(link, 3)[2]
    assert (off.said, off.seq, off.is_on) == (Said.SWITCHED, seq, False)


def test_a_later_order_replaces_an_earlier_one(link: RelayLink) -> None:
    link.release(30)
    link.release(0.1)
    acks = heard(link, 4)
    assert [ack.said for ack in acks] == [Said.READY, Said.SWITCHED, Said.EXTENDED, Said.DEADLINE]


def test_the_link_asks_for_no_more_than_the_relay_grants(link: RelayLink) -> None:
    link.release(1e9)
    on = heard(link, 2)[1]
    assert on.is_on
    assert on.until - on.mono <= MOST_S


def test_a_killed_relay_is_noticed_and_can_be_restarted(link: RelayLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.hardware.link._RESTART_S", 0.0)
    link.acks()
    assert link.is_alive()
    assert link.pid is not None
    os.kill(link.pid, signal.SIGKILL)
    assert eventually(lambda: not link.is_alive())
    link.secure()  # an order to nobody harms nothing
    link.restart()
    assert heard(link, 1)[0].said is Said.READY
    assert link.is_alive()


def test_a_hung_relay_is_noticed_by_its_silence(link: RelayLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.hardware.link._ANSWER_S", 0.05)
    monkeypatch.setattr("device.hardware.link._RESTART_S", 0.0)
    assert link.pid is not None
    heard(link, 1)
    os.kill(link.pid, signal.SIGSTOP)
    link.secure()
    assert eventually(lambda: not link.is_alive())
    link.restart()
    assert heard(link, 1)[0].said is Said.READY


def test_an_order_that_waited_past_its_time_releases_nothing(link: RelayLink) -> None:
    assert link.pid is not None
    heard(link, 1)
    os.kill(link.pid, signal.SIGSTOP)
    link.release(0.05)
    time.sleep(0.1)
    os.kill(link.pid, signal.SIGCONT)
    ack = heard(link, 1)[0]
    assert (ack.said, ack.is_on) == (Said.UNCHANGED, False)


# --- whatever becomes of doord ---------------------------------------------------------------------------

DOORD = """
    import sys, time
    from device.clock import SystemClock
    from device.hardware.link import RelayLink
    relay = RelayLink(17, False, SystemClock())
    relay.start()
    relay.release(float(sys.argv[1]))
    time.sleep(0.02)
    print(relay.pid, *(int(ack.is_on) for ack in relay.acks()), flush=True)
    time.sleep(60)
"""


def released_doord(seconds: float) -> tuple[subprocess.Popen[str], int]:
    """A stand-in for doord that has released the door, and the relay's process id."""
    environ = {**os.environ, "GPIOZERO_PIN_FACTORY": "mock"}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(DOORD), str(seconds)], env=environ, text=True,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, int(process.stdout.readline().split()[0])


@pytest.mark.parametrize("end", SIGNALLED)
def test_the_relays_process_ends_with_doord_though_the_release_still_ran(end: str) -> None:
    doord, relay = released_doord(50)
    doord.send_signal(SIGNALLED[end])
    doord.communicate()
    assert eventually(lambda: not Path(f"/proc/{relay}").exists())


PEER = """
    import socket, sys
    import device.hardware.relay as relay
    from gpiozero.pins.mock import MockFactory

    factory = MockFactory()
    relay.open_factory = lambda: factory
    real_close = factory.close
    def close():
        print(*(f"{int(state.state)}" for state in factory.pin(17).states), flush=True)
        real_close()
    factory.close = close
    sys.exit(relay.main(["--fd", sys.argv[1], "--pin", "17", *sys.argv[2:]]))
"""


def pin_history(act: Callable[[socket.socket, subprocess.Popen[str]], None], *options: str) -> list[str]:
    """Levels that the lock's pin went through while `act` played doord to a real relay process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PEER), str(theirs.fileno()), *options],
                                   pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True)
    with ours:
        ours.settimeout(20)
        ready = read_ack(ours.recv(ACK_SIZE))
        assert ready is not None
        assert ready.said is Said.READY
        act(ours, process)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return output.split()


def energise(peer: socket.socket, seconds: float = 50) -> None:
    peer.send(pack_order(Order(1, time.monotonic() + seconds)))
    ack = read_ack(peer.recv(ACK_SIZE))
    assert ack is not None
    assert ack.is_on


def test_the_pin_falls_when_the_pipe_ends() -> None:
    assert pin_history(lambda peer, _: energise(peer)) == ["0", "1", "0"]


def test_the_pin_falls_when_the_relay_is_told_to_stop() -> None:
    def act(peer: socket.socket, process: subprocess.Popen[str]) -> None:
        energise(peer)
        process.terminate()
        process.wait(20)

    assert pin_history(act) == ["0", "1", "0"]


def test_the_pin_falls_at_its_deadline_while_doord_hangs() -> None:
    def act(peer: socket.socket, _: subprocess.Popen[str]) -> None:
        energise(peer, 0.1)
        off = read_ack(peer.recv(ACK_SIZE))
        assert off is not None
        assert (off.said, off.is_on) == (Said.DEADLINE, False)

    assert pin_history(act) == ["0", "1", "0"]


def test_no_pulse_at_start_or_stop() -> None:
    assert pin_history(lambda peer, process: None) == ["0"]


def test_a_board_that_energises_on_low_rests_high() -> None:
    history = pin_history(lambda peer, _: energise(peer), "--active-low")
    assert history == ["0", "1", "0", "1"]  # the first is the floating input before the line is claimed


def test_ctrl_c_is_left_to_doord() -> None:
    def act(peer: socket.socket, process: subprocess.Popen[str]) -> None:
        energise(peer)
        process.send_signal(signal.SIGINT)
        peer.send(pack_order(Order(2, 0.0)))
        ack = read_ack(peer.recv(ACK_SIZE))
        assert ack is not None
        assert ack.seq == 2

    assert pin_history(act) == ["0", "1", "0"]


def hostile_messages(chance: random.Random) -> Iterator[bytes]:
    good = pack_order(Order(1, time.monotonic() + 5))
    for until in (float("nan"), float("inf"), -float("inf"), -1.0, 1e300, time.monotonic() + 3600):
        yield pack_order(Order(1, until))
    yield from (good[:-1], good + b"\0", b"x" * 5000, b"\0" * ORDER_SIZE)
    yield from (b"X" + good[1:], good[:4] + b"\x02" + good[5:])
    for _ in range(500):
        yield chance.randbytes(ORDER_SIZE)
        yield chance.randbytes(chance.randrange(1, 200))


def test_hostile_messages_are_refused_and_the_deadline_still_holds() -> None:
    def act(peer: socket.socket, _: subprocess.Popen[str]) -> None:
        for message in hostile_messages(random.Random(5)):
            peer.send(message)
            ack = read_ack(peer.recv(ACK_SIZE))
            assert ack is not None
            assert (ack.said, ack.is_on) == (Said.REFUSED, False)
        energise(peer, 0.1)
        off = read_ack(peer.recv(ACK_SIZE))
        assert off is not None
        assert off.said is Said.DEADLINE

    assert pin_history(act) == ["0", "1", "0"]


def test_a_peer_that_never_listens_does_not_hold_up_the_deadline() -> None:
    def act(peer: socket.socket, process: subprocess.Popen[str]) -> None:
        peer.setblocking(False)
        order = pack_order(Order(1, time.monotonic() + 0.3))
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            try:
                peer.send(order)
            except BlockingIOError:
                time.sleep(0.001)

    assert pin_history(act) == ["0", "1", "0"]


# --- a relay of systemd's --------------------------------------------------------------------------------


def test_a_relay_that_listens_serves_one_doord_after_the_other(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    path = tmp_path / "relay.sock"
    (tmp_path / "terminal.toml").write_text('[door]\nlock = "strike"\n[pins]\nlock = 4\n')
    command = [sys.executable, "-m", "device.hardware.relay", "--config", str(tmp_path / "terminal.toml"),
               "--socket", str(path)]
    process = subprocess.Popen(command)
    try:
        assert eventually(path.exists)
        for _ in range(2):
            relay = RelayLink(PIN, False, SystemClock(), path)
            relay.start()
            relay.release(20)
            assert heard(relay, 2)[1].is_on
            relay.close()
        assert path.stat().st_mode & 0o777 == 0o660
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_no_relay_at_the_socket_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(HardwareMissing, match=r"no door-relay at .*relay\.sock .*start door-relay\.service"):
        RelayLink(PIN, False, SystemClock(), tmp_path / "relay.sock").start()


# --- refusals at the start -------------------------------------------------------------------------------


@pytest.mark.parametrize(("factory", "says"), [
    ("", "GPIOZERO_PIN_FACTORY is not set"),
    ("none-such", "none-such is not a pin factory"),
    ("pigpio", "the pin factory pigpio cannot be opened"),
])
def test_without_its_pin_factory_the_relay_refuses_to_start(factory: str, says: str) -> None:
    environ = {**os.environ, "GPIOZERO_PIN_FACTORY": factory}
    done = subprocess.run([sys.executable, "-m", "device.hardware.relay", "--socket", "/nowhere", "--pin", "17"],
                          env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr


def test_doord_is_told_why_the_relay_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    with pytest.raises(HardwareMissing, match="^GPIOZERO_PIN_FACTORY is not set") as caught:
        RelayLink(PIN, False, SystemClock()).start()
    assert caught.value.exit_code == 2


def test_a_pin_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    with pytest.raises(HardwareMissing, match="output pin 63 cannot be had"):
        RelayLink(63, False, SystemClock()).start()


# --- messages and the coil -------------------------------------------------------------------------------


def test_messages_survive_the_wire() -> None:
    order = Order(2**32 - 1, 1234.5)
    assert read_order(pack_order(order)) == order
    ack = Ack(Said.DEADLINE, 7, False, 3.25, 0.0)
    assert read_ack(pack_ack(ack)) == ack
    assert read_ack(b"x" * ACK_SIZE) is None
    assert read_ack(b"") is None


def test_every_effect_reads_as_one_line() -> None:
    assert Ack(Said.SWITCHED, 1, True, 10.0, 15.0).text() == "relay ON for 5.0 s"
    assert Ack(Said.DEADLINE, 0, False, 15.0, 0.0).text() == "relay OFF (deadline)"
    assert Ack(Said.EXTENDED, 0, True, 12.0, 17.0).text() == "relay ON for 5.0 s (extended)"


def test_a_hand_held_relay_falls_when_its_clock_says_so() -> None:
    factory, clock = MockFactory(), HandClock()
    relay = HandRelay(factory, PIN, False, clock)
    relay.release(5)
    assert factory.pin(PIN).state == 1
    clock.advance(4.9)
    assert [ack.said for ack in relay.acks()] == [Said.READY, Said.SWITCHED]
    clock.advance(0.1)
    assert [ack.said for ack in relay.acks()] == [Said.DEADLINE]
    assert factory.pin(PIN).state == 0
    relay.close()
    assert [ack.said for ack in relay.history] == [Said.READY, Said.SWITCHED, Said.DEADLINE]


def test_a_coil_never_outlasts_the_last_order_it_accepted() -> None:
    factory, clock, chance = MockFactory(), HandClock(), random.Random(1)
    coil = Coil(open_output(factory, PIN, False), clock)
    until = 0.0
    for _ in range(3000):
        clock.advance(chance.choice([0.0, 0.01, 1.0, 20.0]))
        coil.expire()
        order = Order(1, max(clock.mono() + chance.uniform(-5, 90), 0.0))
        if coil.obey(order).said is not Said.REFUSED:
            until = order.until_mono
        assert (factory.pin(PIN).state == 1) == (until > clock.mono())
    factory.close()

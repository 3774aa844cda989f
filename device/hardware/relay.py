"""door-relay: the process that owns the lock's line, and nothing else.

Started by systemd (`--config`, `--socket`) or by doord itself (`--fd`). It obeys "energise until T" from one peer at
a time and de-energises at T by its own clock, when the peer's end of the socket goes away, and when it is told to
stop, so that whatever becomes of doord the lock falls. Single-threaded: nothing here can wait for anything but the
socket and the deadline.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from device.clock import Clock, SystemClock
from device.config import DEFAULT_PATH, PinsConfig, read_config
from device.errors import HardwareMissing, TerminalError
from device.hardware.coil import Coil
from device.hardware.orders import ORDER_SIZE, Ack, pack_ack, read_order
from device.hardware.pins import open_factory, open_output
from device.notify import notify


def main(arguments: list[str] | None = None) -> int:
    """0 after an orderly stop, 2 where there is no such pin or configuration."""
    options = _parser().parse_args(arguments)
    try:
        return run(options)
    except TerminalError as error:
        sys.stderr.write(f"door-relay: {error}\n")
        return error.exit_code


def run(options: argparse.Namespace, clock: Clock | None = None) -> int:
    clock = clock or SystemClock()
    pins = _pins(options)
    signal.signal(signal.SIGTERM, _stop)
    # Ctrl-C reaches the whole foreground group; doord's end of the socket says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    factory = open_factory()
    coil = Coil(open_output(factory, pins.lock, pins.active_low), clock)
    try:
        if options.fd is not None:
            serve(socket.socket(fileno=options.fd), coil)
        else:
            _listen(Path(options.socket), coil)
    finally:
        coil.off()
        factory.close()
    return 0


def serve(channel: socket.socket, coil: Coil) -> None:
    """Obey one peer until its end of the channel goes away; the coil is off afterwards, whatever happens."""
    try:
        _say(channel, coil.ready())
        while True:
            if expired := coil.expire():
                _say(channel, expired)
            readable, _, _ = select.select([channel], [], [], coil.remaining_s())
            if not readable:
                continue
            message = _receive(channel)
            if not message:
                return
            _say(channel, coil.obey(read_order(message)))
    finally:
        coil.off()
        channel.close()


def _receive(channel: socket.socket) -> bytes:
    """One message, a byte longer than an order where it is too long; empty at the end."""
    try:
        return channel.recv(ORDER_SIZE + 1)
    except ConnectionError:
        return b""


def _say(channel: socket.socket, ack: Ack) -> None:
    # A peer that does not read its acknowledgements must not hold up the deadline.
    with contextlib.suppress(BlockingIOError, ConnectionError):
        channel.send(pack_ack(ack), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _listen(path: Path, coil: Coil) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    # Whoever may write to this socket opens the door: its folder and these rights keep it to doord's group.
    previous = os.umask(0o117)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(path))
    except OSError as error:
        raise HardwareMissing(f"{path} cannot be made ({error.strerror}); make its folder writable") from None
    finally:
        os.umask(previous)
    with listener:
        listener.listen(1)
        notify("READY=1")
        while True:
            serve(listener.accept()[0], coil)


def _pins(options: argparse.Namespace) -> PinsConfig:
    if options.pin is not None:
        return PinsConfig(lock=options.pin, active_low=options.active_low)
    return read_config(Path(options.config)).pins


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="door-relay", description="Owns the lock's relay; obeys doord.",
        epilog="example: door-relay --config /etc/door/terminal.toml --socket /run/door/relay.sock")
    parser.add_argument("--config", default=str(DEFAULT_PATH), help="terminal.toml that names the lock's pin")
    parser.add_argument("--pin", type=int, help="the lock's pin (BCM) instead of the configuration's")
    parser.add_argument("--active-low", action="store_true", help="with --pin: a low level energises")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="number of an open socket to doord")
    where.add_argument("--socket", help="path at which to wait for doord")
    return parser


if __name__ == "__main__":
    sys.exit(main())

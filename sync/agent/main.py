"""`door-syncd run | claim | status`: the daemon with the network, which has neither camera nor relay."""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from device.clock import Clock, SystemClock, boot_id, is_ntp_synced
from device.errors import TerminalError
from device.link import Link as LinkConfig
from device.link import load_private, read_link
from device.notify import notify
from device.status import memory_mb
from device.store.cache_writer import CacheWriter
from device.store.places import link_path, make_folders, places
from device.store.seal import load_key
from device.store.trust import Opener
from device.threads import Worker
from device.update.layout import layout
from sync.agent import status
from sync.agent.agent import Agent
from sync.agent.health import Health
from sync.agent.intake import Intake
from sync.agent.link import Address, Link
from sync.agent.link_config import HubRefused, claim, renew
from sync.agent.parts import Keys
from sync.wire import topics
from sync.wire.codec import encode_to
from sync.wire.messages import Online
from sync.wire.sign import Signer

log = logging.getLogger(__name__)

STATUS_S = 1.0
STATUS_STALE_S = 10.0
RENEW_EVERY_S = 6 * 3600.0
RENEW_AGAIN_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 stopped or done, 1 refused or failed, 2 wrong usage or configuration."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING,
                        format="%(levelname)s %(name)s: %(message)s")
    try:
        code: int = options.act(options)
        return code
    except TerminalError as error:
        sys.stderr.write(f"door-syncd: {error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="door-syncd", description="Ties a terminal to its hub, over MQTT.")
    parser.add_argument("--verbose", action="store_true")
    acts = parser.add_subparsers(required=True, metavar="COMMAND")
    run = acts.add_parser("run", help="keep this terminal equal to its hub (the service)",
                          epilog="example: door-syncd run")
    run.set_defaults(act=_run)
    one = acts.add_parser("claim", help="tie this terminal to a hub",
                          epilog="example: door-syncd claim --hub https://hub.example:8443 --ca hub-ca.pem "
                                 "--code 8K2M4-Q1TZ9-0RW3X-7HCVN")
    one.add_argument("--hub", required=True, metavar="URL")
    one.add_argument("--ca", required=True, type=Path, metavar="FILE", help="the hub's certificate authority, PEM")
    one.add_argument("--code", required=True, help="the one-time code that `fleethub terminal claim` showed")
    one.set_defaults(act=_claim)
    told = acts.add_parser("status", help="how the link is", epilog="example: door-syncd status --json")
    told.add_argument("--json", action="store_true")
    told.set_defaults(act=_status)
    return parser


# --- run ---------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    config, clock = read_link(link_path()), SystemClock()
    stopping = _Stopping()
    with _Opened(config, clock) as opened:
        notify("READY=1", "STATUS=ready")
        renewing = Worker("renewal", lambda worker: _keep_renewed(worker, config, clock, opened.agent), clock)
        workers = [renewing]
        if opened.agent.intake is not None:
            workers.append(Worker("intake", opened.agent.intake.work, clock))
        for worker in workers:
            worker.start()
        opened.agent.run(lambda: opened.is_over(stopping))
        for worker in workers:
            worker.stop(0.0)
    return 0


class _Stopping:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True


class _Opened:
    """Everything that door-syncd holds open."""

    def __init__(self, config: LinkConfig, clock: Clock) -> None:
        self._config, self._clock, self._where = config, clock, places()
        self._next_status = 0.0

    def __enter__(self) -> _Opened:
        config, where, clock = self._config, self._where, self._clock
        make_folders(where)
        # What SQLite sorts or copies aside goes where the file is, not to a folder that may be small or missing.
        os.environ.setdefault("SQLITE_TMPDIR", str(where.gallery_db.parent))
        keys = Keys(Signer(load_private(config.signing_key)), Opener(load_private(config.sealing_key)))
        session = secrets.token_hex(8)
        will_topic = topics.ONLINE.of(config.site, config.terminal_id)
        absent = Online(terminal_id=config.terminal_id, is_online=False, session=session)
        # A will that is sealed to a key of the hub that is over is read all the same.
        will = encode_to(config.hub_sealing, absent, will_topic, keys.signer)
        self._writer = CacheWriter.open(where.gallery_db, load_key(where), clock)
        link = Link(Address(config.broker_host, config.broker_port, config.terminal_id, config.ca, config.certificate,
                            config.key), (will_topic, will), Health(where, self._writer, clock).is_clock_trusted)
        try:
            self.agent = Agent(config, where, self._writer, keys, boot_id(), clock, link, session,
                               _intake(config, clock))
        except BaseException:
            self._writer.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        notify("STOPPING=1")
        self.agent.close()
        self._writer.close()
        status.sync_status_path(self._where).unlink(missing_ok=True)

    def is_over(self, stopping: _Stopping) -> bool:
        """Asked between any two steps; sees to the watchdog and the status on the way."""
        now = self._clock.mono()
        if now >= self._next_status:
            self._next_status = now + STATUS_S
            notify("WATCHDOG=1")
            status.write(status.sync_status_path(self._where), self._told(now))
        return stopping.is_set

    def _told(self, now: float) -> status.SyncStatus:
        agent = self.agent
        streams = {name: (at.epoch, at.seq) for name in agent.streams.names()
                   for at in (agent.streams.position(name),)}
        return status.SyncStatus(os.getpid(), now, self._config.terminal_id, agent.is_up,
                                 round(agent.heads.silent_s(), 1), streams, agent.upstream.waiting, agent.faults(),
                                 dict(agent.counts), round(memory_mb(), 1))


def _intake(config: LinkConfig, clock: Clock) -> Intake | None:
    """None where nothing is installed that could be updated: a checkout, a first try. DOOR_ROOT names another root
    than the machine's."""
    where = layout(Path(os.environ.get("DOOR_ROOT", "/")))
    return Intake(where, clock, config.terminal_id) if os.access(where.spool, os.W_OK) else None


def _keep_renewed(worker: Worker, config: LinkConfig, clock: Clock, agent: Agent) -> None:
    wait_s = 0.0
    while not worker.stopping.wait(wait_s):
        wait_s = RENEW_EVERY_S
        try:
            renewed = renew(config, clock, agent.health.is_clock_trusted())
            if renewed is not None:
                log.info("the certificate was renewed; it is used from the next connection on")
                agent.announcements.put(tuple(map(bytes.fromhex, renewed.hub_keys)))
        except (HubRefused, TerminalError, OSError, ValueError) as error:
            log.warning("the certificate is not renewed: %s", error)
            wait_s = RENEW_AGAIN_S


# --- claim and status --------------------------------------------------------------------------------------


def _claim(options: argparse.Namespace) -> int:
    path = link_path()
    claimed = claim(options.hub.rstrip("/"), options.ca, options.code, path, is_ntp_synced())
    sys.stdout.write(f"this terminal is {claimed.terminal_id} at site {claimed.site}; the link is in {path}. "
                     "Start door-syncd, and doord anew.\n")
    return 0


def _status(options: argparse.Namespace) -> int:
    link = read_link(link_path())
    found = status.read(status.sync_status_path(places()))
    is_running = found is not None and SystemClock().mono() - float(found.get("mono", 0.0)) < STATUS_STALE_S
    if options.json:
        told = {"is_running": is_running, **(found or {"terminal_id": link.terminal_id})}
        sys.stdout.write(json.dumps(told) + "\n")
    elif found is None or not is_running:
        sys.stdout.write(f"{link.terminal_id} at {link.site}: door-syncd is not running\n")
    else:
        sys.stdout.write(f"{link.terminal_id} at {link.site}: "
                         f"{'connected' if found['is_up'] else 'not connected'} to {link.broker_host}:"
                         f"{link.broker_port}\n")
        for name, (epoch, seq) in sorted(found["streams"].items()):
            sys.stdout.write(f"  {name}: at {seq} of {epoch}\n")
        sys.stdout.write(f"  journal: {found['waiting']} entries wait for the hub\n")
        for fault in found["faults"]:
            sys.stdout.write(f"  fault: {fault}\n")
    return 0 if is_running else 1


if __name__ == "__main__":
    sys.exit(main())

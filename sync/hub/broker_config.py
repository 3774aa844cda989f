"""What a broker must be told: its configuration and who may read and write which topic.

Everything follows from the one table in `sync.wire.topics`. A terminal is known by the common name of its client
certificate. Its own topics are patterns on that name, so that a new terminal needs no new line; which groups' and
areas' topics it may read is a line per terminal and each of those, written from the fleet and re-read by the broker
on SIGHUP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from device.store.trust import MAX_BYTES
from sync.hub.ca import HUB
from sync.wire.streams import head_topic, owner_of, pages_topic
from sync.wire.topics import PREFIX, TOPICS, Topic, Writer, checked

# Stock Mosquitto drops silently what lies beyond 1 000 queued messages of a session.
MAX_QUEUED = 100_000
MAX_QUEUED_BYTES = 256_000_000
MESSAGE_LIMIT = MAX_BYTES + 1000  # the envelope's payload, its signature and the framing
IN_FLIGHT = 20
ABSENCE_DAYS = 30  # a terminal that is away for longer begins with its cursors, which are the truth anyway


@dataclass(frozen=True, slots=True)
class Served:
    """A terminal that may connect: its site, and the shared streams whose topics it may read."""

    terminal_id: str
    site: str
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the broker finds and keeps what it needs; one folder."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "mosquitto.conf"

    @property
    def acl(self) -> Path:
        return self.folder / "acl"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def revoked(self) -> Path:
        return self.folder / "revoked.pem"

    @property
    def state(self) -> Path:
        return self.folder / "state"


def mosquitto_config(files: Files, port: int, address: str | None = None, user: str | None = None) -> str:
    """mosquitto.conf for Mosquitto 2.0 (Debian 12 and 13).

    address  to listen on; None listens on all
    user     to run as, where the broker is started as root; None leaves the package's own
    """
    lines = [
        "# Written by fleethub; changes here are lost.",
        f"listener {port} {address}" if address else f"listener {port}",
        "protocol mqtt",
        f"cafile {files.ca}",
        f"certfile {files.certificate}",
        f"keyfile {files.key}",
        f"crlfile {files.revoked}",
        "tls_version tlsv1.2",  # the oldest that is accepted; 1.3 is used where both sides have it
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        f"acl_file {files.acl}",
        "persistence true",
        f"persistence_location {files.state}/",
        "autosave_interval 30",
        f"max_queued_messages {MAX_QUEUED}",
        f"max_queued_bytes {MAX_QUEUED_BYTES}",
        f"max_inflight_messages {IN_FLIGHT}",
        f"message_size_limit {MESSAGE_LIMIT}",
        f"persistent_client_expiration {ABSENCE_DAYS}d",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]
    if user:
        lines.append(f"user {user}")
    return "\n".join(lines) + "\n"


def mosquitto_acl(sites: Iterable[str], fleet: Iterable[Served], shut_out: Iterable[str] = ()) -> str:
    """The access list for Mosquitto; what is not named is denied.

    shut_out  who is ours no longer: even a connection that was there before is good for nothing
    """
    sites = sorted(sites)
    lines = ["# Written by fleethub; changes here are lost.", f"user {HUB}"]
    lines += [f"topic {_verb(topic, Writer.HUB)} {topic.everywhere(site)}" for site in sites for topic in TOPICS]
    for terminal in _in_order(fleet):
        if terminal.shared:
            lines += ["", f"user {terminal.terminal_id}"]
            lines += [f"topic read {name}" for name in _shared_topics(terminal)]
    for terminal_id in sorted(shut_out):
        lines += ["", f"user {checked(terminal_id)}", "topic deny #"]
    lines += ["", "# every terminal, by its own name"]
    lines += [f"pattern {_verb(topic, Writer.TERMINAL)} {_own(site, topic, '%u')}"
              for site in sites for topic in _of_terminals()]
    return "\n".join(lines) + "\n"


def emqx_config(files: Files, port: int) -> str:
    """The part of emqx.conf (EMQX 5) that is ours."""
    return f"""# Written by fleethub; changes here are lost.
listeners.tcp.default.enable = false
listeners.ws.default.enable = false
listeners.wss.default.enable = false
listeners.ssl.default {{
  bind = "0.0.0.0:{port}"
  ssl_options {{
    cacertfile = "{files.ca}"
    certfile = "{files.certificate}"
    keyfile = "{files.key}"
    verify = verify_peer
    fail_if_no_peer_cert = true
    versions = ["tlsv1.3", "tlsv1.2"]
  }}
}}
mqtt {{
  peer_cert_as_username = cn
  max_packet_size = {MESSAGE_LIMIT}B
  max_mqueue_len = {MAX_QUEUED}
  max_inflight = {IN_FLIGHT}
  retain_available = true
}}
durable_sessions.enable = true
authorization {{
  no_match = deny
  deny_action = ignore
  sources = [{{ type = file, enable = true, path = "{files.acl}" }}]
}}
"""


def emqx_acl(sites: Iterable[str], fleet: Iterable[Served]) -> str:
    """acl.conf for EMQX 5; what is not named is denied.

    Every terminal has its own lines: EMQX reads no revocation list from a file, so a certificate that was revoked
    still connects, and must find nothing that it may do.
    """
    sites = sorted(sites)
    lines = ["%% Written by fleethub; changes here are lost."]
    for topic in TOPICS:
        action = "publish" if topic.writer is Writer.HUB else "subscribe"
        lines += [_rule(f'{{username, "{HUB}"}}', action, topic.everywhere(site)) for site in sites]
    for terminal in _in_order(fleet):
        who, own = f'{{username, "{terminal.terminal_id}"}}', terminal.terminal_id
        said = [topic.of(terminal.site, own) for topic in _of_terminals() if topic.writer is Writer.TERMINAL]
        heard = [topic.of(terminal.site, own) for topic in _of_terminals() if topic.writer is Writer.HUB]
        lines += [_rule(who, "publish", *said), _rule(who, "subscribe", *heard, *_shared_topics(terminal))]
    return "\n".join([*lines, "{deny, all}."]) + "\n"


def _rule(who: str, action: str, *filters: str) -> str:
    names = ", ".join(f'"{name}"' for name in filters)
    return f"{{allow, {who}, {action}, [{names}]}}."


def _in_order(fleet: Iterable[Served]) -> list[Served]:
    """ValueError for an id that could widen a topic."""
    for terminal in (found := sorted(fleet, key=lambda served: served.terminal_id)):
        checked(terminal.terminal_id)
    return found


def _shared_topics(terminal: Served) -> list[str]:
    return [topic.of(terminal.site, owner_of(stream))
            for stream in sorted(terminal.shared) for topic in (pages_topic(stream), head_topic(stream))]


def _of_terminals() -> list[Topic]:
    return [topic for topic in TOPICS if topic.scope == "terminal"]


def _own(site: str, topic: Topic, name: str) -> str:
    return f"{PREFIX}/{checked(site)}/{topic.scope}/{name}/{topic.leaf}"


def _verb(topic: Topic, who: Writer) -> str:
    return "write" if topic.writer is who else "read"

"""Names of streams, as both ends write them: one for each terminal, one for each group, one for each area of a site.

What many terminals follow (`is_shared`) is published once, on topics of its own, under a key of its own. An area's
stream carries where people are who came into the area or left it, so that each of its doors can tell.
"""

from __future__ import annotations

import hashlib

from sync.wire import topics
from sync.wire.topics import Topic, checked

TERMINAL, GROUP, AREA = "terminal", "group", "area"
_PAGES = {GROUP: topics.GROUP_PAGES, AREA: topics.AREA_PAGES}
_HEADS = {GROUP: topics.GROUP_HEAD, AREA: topics.AREA_HEAD}


def terminal_stream(terminal_id: str) -> str:
    return f"{TERMINAL}/{terminal_id}"


def group_stream(group: str) -> str:
    return f"{GROUP}/{group}"


def area_stream(site: str, area: str) -> str:
    """ValueError for an area that has no name (outside) or one that cannot stand in a topic. Two sites may have areas
    of one name: a digest of both keeps the streams apart."""
    return f"{AREA}/{checked(area)[:32]}-{_digest(site, area)}"


def position_key(person_id: str, stream: str) -> str:
    """The key of a person's position in an area's stream. A terminal holds one record of a kind and key, whichever
    stream told it last, so no two streams may share one."""
    return f"{person_id}.{stream.rpartition('-')[2]}"


def person_of(position: str) -> str:
    """Whose position the key names."""
    return position.partition(".")[0]


def scope_of(stream: str) -> str:
    return stream.partition("/")[0]


def owner_of(stream: str) -> str:
    """The terminal, group or area that the stream is about, as its topics name it."""
    return stream.partition("/")[2]


def is_shared(stream: str) -> bool:
    return scope_of(stream) in _PAGES


def pages_topic(stream: str) -> Topic:
    """Where pages of a shared stream are published."""
    return _PAGES[scope_of(stream)]


def head_topic(stream: str) -> Topic:
    """Where the head of a shared stream is published, retained."""
    return _HEADS[scope_of(stream)]


def _digest(site: str, area: str) -> str:
    return hashlib.sha256(f"{site}/{area}".encode()).hexdigest()[:12]

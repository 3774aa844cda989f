"""The one table of topics; what the clients use and what the broker's access list allows both come from it.

Names and site, group, area and terminal ids consist of letters, digits, `-`, `_` and `.` only, so that none can hold
a topic's separators or wildcards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

PREFIX = "door/v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")


class Writer(Enum):
    HUB = "hub"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of topic: its place below the scope, who writes it, and whether the broker keeps the last one."""

    scope: str  # "group", "area" or "terminal"
    leaf: str
    writer: Writer
    is_retained: bool
    about: str

    def of(self, site: str, owner: str) -> str:
        """The topic of one group, area or terminal of one site."""
        return f"{PREFIX}/{checked(site)}/{self.scope}/{checked(owner)}/{self.leaf}"

    def everywhere(self, site: str) -> str:
        """The filter that matches this topic for every group, area or terminal of one site."""
        return f"{PREFIX}/{checked(site)}/{self.scope}/+/{self.leaf}"


GROUP_PAGES = Topic("group", "pages", Writer.HUB, False, "changes of the group's stream")
GROUP_HEAD = Topic("group", "head", Writer.HUB, True, "signed head of the group's stream")
AREA_PAGES = Topic("area", "pages", Writer.HUB, False, "where people are who came into the area or left it")
AREA_HEAD = Topic("area", "head", Writer.HUB, True, "signed head of the area's stream")
PAGES = Topic("terminal", "pages", Writer.HUB, False, "the terminal's own stream and its catch-up pages")
DESIRED = Topic("terminal", "desired", Writer.HUB, True, "desired state: modes and configuration versions")
COMMAND = Topic("terminal", "command", Writer.HUB, False, "commands that expire")
ACKED = Topic("terminal", "acked", Writer.HUB, True, "up to where the hub has stored the journal")
KEYS = Topic("terminal", "keys", Writer.HUB, False, "announcements of the hub's keys")
UPDATE = Topic("terminal", "update", Writer.HUB, False, "an offered release, and chunks of it that were asked for")
REPORT = Topic("terminal", "report", Writer.TERMINAL, True, "cursors, digests, versions, health")
ONLINE = Topic("terminal", "online", Writer.TERMINAL, True, "presence; also the last will")
JOURNAL = Topic("terminal", "journal", Writer.TERMINAL, False, "journal entries")
RECEIPTS = Topic("terminal", "receipts", Writer.TERMINAL, False, "signed deletion receipts")
ANSWER = Topic("terminal", "answer", Writer.TERMINAL, False, "outcomes of commands")
MISSING = Topic("terminal", "missing", Writer.TERMINAL, False, "chunks of an offered release that it asks for")

TOPICS = (GROUP_PAGES, GROUP_HEAD, AREA_PAGES, AREA_HEAD, PAGES, DESIRED, COMMAND, ACKED, KEYS, UPDATE, REPORT,
          ONLINE, JOURNAL, RECEIPTS, ANSWER, MISSING)


def checked(name: str) -> str:
    """`name`, where it may stand in a topic; ValueError otherwise."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} cannot be a site, group or terminal id: use 1 to 48 letters, digits, "
                         "'-', '_' or '.', beginning with a letter or digit")
    return name


def parse(topic: str) -> tuple[Topic, str, str]:
    """(which topic, site, group, area or terminal) of a received topic; ValueError where it is none of ours."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != PREFIX:
        raise ValueError(f"not one of our topics: {topic[:120]!r}")
    _, _, site, scope, owner, leaf = parts
    for known in TOPICS:
        if (known.scope, known.leaf) == (scope, leaf):
            return known, checked(site), checked(owner)
    raise ValueError(f"not one of our topics: {topic[:120]!r}")

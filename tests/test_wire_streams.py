"""Names of streams: what they say, and that no two streams or positions share one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.wire import topics
from sync.wire.streams import (
    area_stream,
    group_stream,
    head_topic,
    is_shared,
    owner_of,
    pages_topic,
    person_of,
    position_key,
    scope_of,
    terminal_stream,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}", fullmatch=True)
PERSON = f"{7:032x}"


@given(NAMES, NAMES)
def test_an_areas_stream_can_be_a_topic_and_a_cursor_however_long_its_names(site: str, area: str) -> None:
    stream = area_stream(site, area)
    assert (scope_of(stream), len(stream) <= 64) == ("area", True)
    assert topics.parse(topics.AREA_PAGES.of(site, owner_of(stream))) == (topics.AREA_PAGES, site, owner_of(stream))
    key = position_key(PERSON, stream)
    assert topics.checked(key) == key and person_of(key) == PERSON


def test_areas_of_one_name_or_of_one_long_beginning_are_apart() -> None:
    names = [("hq", "hall"), ("plant", "hall"), ("hq", "x" * 47 + "1"), ("hq", "x" * 47 + "2"), ("h", "q-hall")]
    streams = [area_stream(*one) for one in names]
    assert len(set(streams)) == len({position_key(PERSON, stream) for stream in streams}) == len(names)
    assert area_stream("hq", "hall") == "area/hall-f7ad539cfeb1"  # terminals and hubs of all releases agree on it


@pytest.mark.parametrize("area", ["", "#", "a/b", "-a", "x" * 49, "大厅"])
def test_what_cannot_stand_in_a_topic_names_no_areas_stream(area: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        area_stream("hq", area)


def test_what_many_follow_has_topics_of_its_own() -> None:
    shared = {group_stream("staff"): (topics.GROUP_PAGES, topics.GROUP_HEAD),
              area_stream("hq", "hall"): (topics.AREA_PAGES, topics.AREA_HEAD)}
    for stream, found in shared.items():
        assert is_shared(stream) and (pages_topic(stream), head_topic(stream)) == found
    assert not is_shared(terminal_stream("t1"))

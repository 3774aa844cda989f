"""Topics: one table, read in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.wire.topics import TOPICS, checked, parse


def test_every_topic_is_parsed_back() -> None:
    for topic in TOPICS:
        assert parse(topic.of("site-1", "door.2")) == (topic, "site-1", "door.2")


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "-a", "x" * 49, "ä", "a\n"])
def test_a_name_that_could_change_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a site"):
        checked(name)


@given(st.text(max_size=60))
def test_any_other_topic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not one of our topics|cannot be"):
        parse(text)

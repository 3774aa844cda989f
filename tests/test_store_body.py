"""Records as bytes: everything comes back as it was, and hostile bytes raise ValueError alone."""

import dataclasses
import json
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import CONSENT, NOW, person

from device.store import body
from device.store.records import (
    ALWAYS,
    AccessRule,
    Credential,
    Method,
    Passback,
    Period,
    Person,
    PersonClass,
    Schedule,
)

RECORDS = [
    person(1, valid_from=NOW, valid_until=NOW.astimezone(timezone(timedelta(hours=8))),
           person_class=PersonClass.VISITOR, groups=("a", "b")),
    person(2, consent=None),
    dataclasses.replace(CONSENT, valid_until=NOW),
    Credential("k1", "p1", Method.CARD, b"\x00\xff\x10", True, NOW),
    AccessRule("r1", "staff", ("front", "back"), "office", ((Method.FACE,), (Method.CARD, Method.PIN)),
               Passback.HARD, 7.5),
    AccessRule("r2", "everyone"),
    Schedule("office", ((Period(480, 1080),),) * 5 + ((), ()),
             (("2026-10-01", ()), ("2026-10-02", (Period(0, 60),)))),
    ALWAYS,
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_every_record_comes_back_as_it_was(record):
    back = body.decode(type(record), body.encode(record))
    assert back == record
    assert body.encode(back) == body.encode(record)


def test_an_older_release_skips_fields_it_does_not_know():
    text = json.loads(body.encode(person(1)))
    text["height_of_desk"] = 3
    assert body.decode(Person, json.dumps(text).encode()) == person(1)


def test_a_newer_release_reads_records_that_lack_its_fields():
    assert body.decode(AccessRule, b'{"rule_id": "r", "group": "g"}') == AccessRule("r", "g")


@pytest.mark.parametrize("text", [
    b"", b"null", b"[]", b"\xff\xfe", b"{}", b'{"rule_id": 3, "group": "g"}', b'{"rule_id": "r", "group": null}',
    b'{"rule_id": "r", "group": "g", "release_s": NaN}', b'{"rule_id": "r", "group": "g", "methods": [["nose"]]}',
    b'{"rule_id": "r", "group": "g", "doors": "front"}', b'{"rule_id": "r", "group": "g", "release_s": true}',
    b'{"rule_id": "r", "group": "g", "release_s": 1' + b"0" * 400 + b"}", b"[" * 100_000,
])
def test_what_is_no_record_raises_value_error_that_quotes_nothing(text):
    with pytest.raises(ValueError, match="^not a AccessRule$"):
        body.decode(AccessRule, text)


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="not a Person"):
        body.decode(Person, b'{"person_id": "p", "label": "l", "valid_from": "2026-01-01T00:00:00"}')


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(
                        st.sampled_from(["person_id", "label", "groups", "consent", "valid_from", "kinds"]), inner)))
def test_any_json_is_a_person_or_a_value_error(value):
    try:
        found = body.decode(Person, json.dumps(value).encode())
    except ValueError:
        return
    assert isinstance(found.label, str)

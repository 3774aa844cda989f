"""Templates on the wire: the canonical body and the columns."""

import dataclasses
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.store.records import Template
from device.store.trust import MessageRefused
from sync.wire.codec import decode_body, encode_body
from sync.wire.messages import PageBody
from sync.wire.templates import from_columns, rows, template_body, to_columns

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone.utc)


def sample(number=1, **changes):
    whole = Template(f"{number:032x}", f"{number + 500:032x}", "model-1", bytes(range(24)), 0.03125, 0.75, AT)
    return dataclasses.replace(whole, **changes)


def test_the_canonical_body_never_changes():
    assert template_body(sample(vector=b"\x01\xff" * 4)).hex() == (
        "00000000000000000000000000000001" "000000000000000000000000000001f5" "0700" + b"model-1".hex() + "0800"
        "01ff01ff01ff01ff" "0000003d" "bf" "53bc60a99c010000")


ids = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
templates = st.builds(
    Template, ids, ids, st.just("m"), st.binary(min_size=16, max_size=16), st.floats(0.0, 1e3, width=32),
    st.floats(0, 1), st.integers(0, 13_000_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us)))


@given(st.lists(st.tuples(st.integers(0, 2**62), templates), min_size=1, max_size=5))
def test_columns_and_back_keep_the_body(numbered):
    columns = decode_body(encode_body(PageBody(templates=(to_columns(numbered),))), PageBody).templates[0]
    found = from_columns(columns)
    assert [seq for seq, _ in found] == [seq for seq, _ in numbered]
    bodies = [template_body(template) for _, template in numbered]
    assert [template_body(template) for _, template in found] == bodies == [row.body for row in rows(columns)]


def test_quality_and_moment_come_back_rounded():
    ((_, back),) = from_columns(to_columns([(7, sample(quality=0.5, created_at=AT))]))
    assert back.quality == 128 / 255
    assert back.created_at == AT - timedelta(microseconds=456)


@pytest.mark.parametrize("name", ["seqs", "template_ids", "person_ids", "vectors", "scales", "qualities", "created"])
def test_a_column_of_another_length_is_refused(name):
    columns = to_columns([(1, sample(1)), (2, sample(2))])
    for wrong in (getattr(columns, name)[:-1], getattr(columns, name) + b"\0", b""):
        with pytest.raises(MessageRefused, match=name):
            rows(msgspec.structs.replace(columns, **{name: wrong}))


@pytest.mark.parametrize(("name", "wrong"), [
    ("scales", b"\0\0\xc0\x7f"), ("scales", b"\0\0\x80\x7f"), ("created", b"\xff" * 8), ("seqs", b"\xff" * 8),
    ("model_id", ""), ("model_id", "a\0b"), ("count", 2)])
def test_numbers_that_no_template_has_are_refused(name, wrong):
    with pytest.raises(MessageRefused):
        rows(msgspec.structs.replace(to_columns([(1, sample())]), **{name: wrong}))


def test_counts_beyond_the_bound_are_refused():
    columns = msgspec.structs.replace(to_columns([(1, sample())]), count=100_001)
    with pytest.raises(MessageRefused):
        decode_body(encode_body(PageBody(templates=(columns,))), PageBody)


@pytest.mark.parametrize("wrong", [
    sample(template_id="AB" * 16), sample(person_id="short"), sample(quality=1.5), sample(scale=1e300),
    sample(created_at=datetime(1960, 1, 1, tzinfo=timezone.utc))])
def test_what_cannot_be_written_canonically_is_an_error(wrong):
    with pytest.raises(ValueError, match="id|quality|out of range"):
        template_body(wrong)
    with pytest.raises(ValueError, match="id|quality|out of range"):
        to_columns([(1, wrong)])


def test_templates_of_two_models_do_not_share_columns():
    with pytest.raises(ValueError, match="several models"):
        to_columns([(1, sample()), (2, sample(2, model_id="other"))])
    with pytest.raises(ValueError, match="no templates"):
        to_columns([])

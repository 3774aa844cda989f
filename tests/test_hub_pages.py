"""Changes as the bodies of pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from store_samples import person, template

from device.store import body
from device.store.trust import MAX_BYTES
from sync.hub import pages
from sync.hub.ledger import Tally
from sync.wire.codec import decode_body
from sync.wire.messages import Change, PageBody
from sync.wire.templates import from_columns, template_body


def people(count: int, first: int = 1) -> list[Change]:
    changes = []
    for number in range(first, first + count):
        one, face = person(number), template(number, model_id="a" if number % 2 else "b")
        changes.append(Change(2 * number, "put", "template", face.template_id, template_body(face)))
        changes.append(Change(2 * number + 1, "put", "person", one.person_id, body.encode(one)))
    return changes


def read(data: bytes | None) -> PageBody:
    assert data is not None
    return decode_body(data, PageBody)


def snapshot(changes: list[Change]) -> list[bytes]:
    """The parts of a snapshot, as the ledger would have them made."""
    bodies, keys, counts = Counter[str](), Counter[str](), Counter[str]()
    for change in changes:
        bodies[change.kind] += len(change.body)
        keys[change.kind] += len(change.key)
        counts[change.kind] += 1
    ordered = sorted(changes, key=lambda change: (change.kind == "template", change.kind != "person", change.seq))
    parts = pages.parts_of(Tally(kind, counts[kind], bodies[kind], keys[kind]) for kind in counts)
    return list(pages.snapshot(ordered, parts))


def carried(parts: list[bytes]) -> dict[tuple[str, str], tuple[int, bytes]]:
    found = {}
    for part in map(read, parts):
        found.update({(change.kind, change.key): (change.seq, change.body) for change in part.puts})
        for columns in part.templates:
            found.update({("template", face.template_id): (seq, template_body(face))
                          for seq, face in from_columns(columns)})
    return found


def test_a_snapshot_carries_every_record_once_and_persons_before_their_templates() -> None:
    changes = people(3000)
    parts = snapshot(changes)
    assert carried(parts) == {(change.kind, change.key): (change.seq, change.body) for change in changes}
    assert sum(len(read(part).puts) + sum(c.count for c in read(part).templates) for part in parts) == len(changes)
    first_template = next(i for i, part in enumerate(parts) if read(part).templates)
    assert not any(read(part).puts for part in parts[first_template + 1:])
    assert len(parts) > 5
    assert all(len(part) < pages.PART_BYTES * 1.1 for part in parts)


def test_the_number_of_parts_holds_whatever_the_sizes() -> None:
    for size in (1, 100, pages.PART_BYTES - 50, pages.PART_BYTES, 3 * pages.PART_BYTES):
        for count in (1, 2, 7):
            rules = [Change(number, "put", "rule", f"r{number}", bytes(size)) for number in range(count)]
            parts = snapshot(rules)
            assert set(carried(parts)) == {("rule", change.key) for change in rules}
            assert len(parts) == pages.parts_of([Tally("rule", count, count * size, 2 * count)])


def test_parts_are_made_one_by_one_as_their_records_are_read() -> None:
    read_so_far = []

    def rules() -> Iterator[Change]:
        for number in range(20):
            read_so_far.append(number)
            yield Change(number, "put", "rule", f"r{number}", bytes(pages.PART_BYTES // 2))

    parts = pages.snapshot(rules(), 10)
    next(parts)
    assert len(read_so_far) <= 4
    assert len(list(parts)) == 9


def test_columns_cost_hardly_more_than_what_they_hold() -> None:
    changes = [change for change in people(3000) if change.kind == "template"]
    assert sum(map(len, snapshot(changes))) < 1.03 * sum(len(change.body) for change in changes)


def test_a_delta_puts_drops_first_and_leaves_nothing_out() -> None:
    changes = [*people(10), Change(90, "drop", "person", "p"), Change(91, "drop", "template", "t")]
    page = read(pages.delta(changes))
    assert [change.seq for change in page.drops] == [90, 91]
    assert len(page.puts) == 10
    assert sum(columns.count for columns in page.templates) == 10


def test_ten_thousand_persons_gone_at_once_fit_into_one_delta() -> None:
    drops = [Change(n, "drop", kind, f"{n:032x}") for n in range(10_000) for kind in ("person", "template")]
    data = pages.delta(drops)  # type: ignore[arg-type]
    assert data is not None
    assert len(data) < MAX_BYTES


def test_what_is_too_large_for_a_message_is_no_delta_and_no_repair() -> None:
    changes = people(8000)
    assert pages.delta(changes) is None
    assert pages.repair(changes, [1]) is None


def test_a_snapshot_of_nothing_is_one_empty_part() -> None:
    assert [read(part) for part in snapshot([])] == [PageBody()]


def test_a_repair_names_its_buckets() -> None:
    page = read(pages.repair(people(3), [5, 9]))
    assert page.buckets == (5, 9)
    assert len(page.puts) == 3



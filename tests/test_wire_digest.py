"""Digests: equal roots for equal sets, whatever the order, and only for those."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sync.wire.digest import (
    BUCKETS,
    DigestTree,
    Leaf,
    body_hash,
    bucket_hash,
    bucket_of,
    differing_ranges,
    placed,
)

leaves = st.builds(Leaf, kind=st.sampled_from(["person", "template"]), key=st.text(min_size=1, max_size=6),
                   version=st.integers(0, 5), body_hash=st.binary(max_size=3).map(body_hash))
sets = st.lists(leaves, max_size=30, unique_by=lambda leaf: (leaf.kind, leaf.key))


@given(sets, st.randoms())
def test_the_order_of_the_records_does_not_matter(records: list[Leaf], chance: object) -> None:
    shuffled = list(records)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert DigestTree.of(records).root() == DigestTree.of(shuffled).root()


@given(sets, sets)
def test_roots_are_equal_exactly_for_equal_sets(one: list[Leaf], other: list[Leaf]) -> None:
    assert (DigestTree.of(one).root() == DigestTree.of(other).root()) == (set(one) == set(other))


@given(sets, leaves)
def test_changing_one_bucket_gives_the_tree_of_the_changed_set(records: list[Leaf], added: Leaf) -> None:
    records = [leaf for leaf in records if (leaf.kind, leaf.key) != (added.kind, added.key)]
    tree = DigestTree.of(records)
    before = tree.ranges()
    in_bucket = [leaf.hash() for leaf in [*records, added] if leaf.bucket == added.bucket]
    tree.set_bucket(added.bucket, bucket_hash(in_bucket))
    assert tree.root() == DigestTree.of([*records, added]).root()
    assert differing_ranges(before, tree.ranges()) == [added.bucket // 64]


def test_names_spread_over_the_buckets() -> None:
    counts = [0] * BUCKETS
    for number in range(40_960):
        counts[bucket_of("person", f"{number:032x}")] += 1
    assert max(counts) < 40  # mean 10; Poisson puts 40 at about 1e-12


def test_kind_and_key_cannot_run_into_each_other() -> None:
    one = Leaf("a", "bc", 1, body_hash(b""))
    other = Leaf("ab", "c", 1, body_hash(b""))
    assert one.hash() != other.hash()


def test_the_root_of_the_empty_set_is_fixed() -> None:
    # A kept figure: a change of the tree's form would make every terminal disagree with every hub.
    assert DigestTree().root().hex() == DigestTree.of([]).root().hex() == (
        "84c0fd6ddc43df3289d8cd7d1942f06e96323251364c7102bc5bc85502e6744c"
    )


def test_a_leaf_is_placed_alike_both_ways():
    for kind, key, version, body in (
            ("person", "a" * 32, 7, b"x"), ("rule", "é", 2**62, b""), ("config", "k", 0, b"y" * 999)):
        leaf = Leaf(kind, key, version, body_hash(body))
        assert placed(kind, key, version, body) == (leaf.bucket, leaf.hash())

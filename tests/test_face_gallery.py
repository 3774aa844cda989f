import gc

import numpy as np
import pytest
from gallery_samples import D, a_template, an_id
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import ModelMismatch, TemplateRefused
from device.face.gallery import SPARE, Gallery, dequantise, quantise
from device.store.records import Template


def gallery_of(templates):
    return Gallery.build("m", D, [t.template_id for t in templates], [t.person_id for t in templates],
                         b"".join(t.vector for t in templates), [t.scale for t in templates])


def content(gallery):
    rows = gallery.live_rows()
    return {gallery.template_id(row): (gallery.person_id(row), gallery.rows[row].tobytes()) for row in rows}


def expected(templates):
    return {t.template_id: (t.person_id, t.vector) for t in templates}


def test_a_gallery_holds_what_it_was_built_from():
    templates = [a_template(i, person=i // 3) for i in range(100)]
    gallery = gallery_of(templates)
    assert content(gallery) == expected(templates)
    assert len(gallery) == 100
    assert templates[7].template_id in gallery
    assert an_id(5000) not in gallery
    assert "no id" not in gallery
    assert sorted(gallery.templates_of(an_id(10_000))) == sorted(t.template_id for t in templates[:3])
    assert gallery.has_person(an_id(10_001))
    assert not gallery.has_person(an_id(9_999))
    assert gallery.templates_of("nobody") == []


def test_an_empty_gallery_is_empty():
    gallery = Gallery.empty("m", D)
    assert len(gallery) == 0
    assert content(gallery) == {}
    assert not gallery.has_person(an_id(1))


def test_a_change_leaves_the_generation_before_it_as_it_was():
    templates = [a_template(i) for i in range(10)]
    first = gallery_of(templates)
    newcomer, again = a_template(50), a_template(3, seed=77)
    second = first.next(put=[newcomer, again], drop=[templates[5].template_id])
    assert content(first) == expected(templates)
    kept = [t for i, t in enumerate(templates) if i not in (3, 5)]
    assert content(second) == expected([*kept, newcomer, again])
    assert (first.generation, second.generation) == (0, 1)
    assert first.next(generation=41).generation == 41


def test_dropping_what_is_not_there_changes_nothing():
    gallery = gallery_of([a_template(1)])
    assert content(gallery.next(drop=[an_id(2)])) == content(gallery)


def test_two_successors_of_one_generation_do_not_disturb_each_other():
    first = gallery_of([a_template(1)])
    one, other = first.next(put=[a_template(2)]), first.next(put=[a_template(3)])
    assert content(one) == expected([a_template(1), a_template(2)])
    assert content(other) == expected([a_template(1), a_template(3)])


def test_a_deleted_row_is_wiped_as_soon_as_nobody_sees_it():
    templates = [a_template(i) for i in range(4)]
    first = gallery_of(templates)
    second = first.next(drop=[templates[2].template_id])
    third = second.next(put=[a_template(9)])
    assert third.lingering == 1
    assert first.rows[2].any()
    del second
    assert first.rows[2].tobytes() == templates[2].vector
    del first
    gc.collect()
    assert third.lingering == 0
    assert not third.rows[2].any()
    assert len(third.next(put=[a_template(10)]).rows) == len(third.rows)  # the wiped place is used again


def test_a_mostly_vacant_gallery_is_packed_together():
    templates = [a_template(i) for i in range(3 * SPARE)]
    gallery = gallery_of(templates).next(drop=[t.template_id for t in templates[5:]])
    assert content(gallery) == expected(templates[:5])
    assert len(gallery.rows) == 5


changes = st.lists(
    st.tuples(
        st.integers(0, 5),  # which of the generations so far is followed
        st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3), st.integers(0, 9)), max_size=4,
                 unique_by=lambda put: put[0]),
        st.lists(st.integers(0, 11), max_size=4),
        st.booleans(),  # whether the oldest generation is forgotten
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(changes)
def test_any_row_of_changes_gives_what_a_dictionary_would(steps):
    generations = [(Gallery.empty("m", D), {})]
    for which, puts, drops, is_forgotten in steps:
        gallery, model = generations[min(which, len(generations) - 1)]
        fresh = [a_template(number, person, seed) for number, person, seed in puts]
        following = {key: value for key, value in model.items() if key not in {an_id(n) for n in drops}}
        generations.insert(0, (gallery.next(fresh, [an_id(n) for n in drops]), following | expected(fresh)))
        if is_forgotten and len(generations) > 2:
            generations.pop()
        for each, its_model in generations:
            assert content(each) == its_model
            assert len(each) == len(its_model)


def test_a_template_of_another_model_is_refused():
    gallery = gallery_of([a_template(1)])
    with pytest.raises(ModelMismatch, match="made by other"):
        gallery.next(put=[a_template(2), a_template(3, model_id="other")])
    assert content(gallery.next()) == expected([a_template(1)])


def damaged(**changed):
    good = a_template(2)
    fields = {name: getattr(good, name) for name in Template.__slots__} | changed
    return Template(**fields)


@pytest.mark.parametrize("template", [
    damaged(scale=float("nan")),
    damaged(scale=float("inf")),
    damaged(scale=0.0),
    damaged(scale=-a_template(2).scale),
    damaged(scale=a_template(2).scale * 2),
    damaged(vector=bytes(D)),
    damaged(vector=a_template(2).vector[:-1]),
    damaged(vector=a_template(2).vector + b"\0"),
    damaged(vector=b""),
    damaged(template_id="12"),
    damaged(template_id="G" * 32),
    damaged(template_id="A" * 32),
    damaged(template_id=" " * 32),
    damaged(person_id=""),
])
def test_a_damaged_template_is_refused_and_nothing_changes(template):
    gallery = gallery_of([a_template(1)])
    with pytest.raises(TemplateRefused) as refusal:
        gallery.next(put=[a_template(5), template], drop=[an_id(1)])
    assert "\n" not in str(refusal.value)
    assert content(gallery) == expected([a_template(1)])
    assert content(gallery.next(put=[a_template(6)])) == expected([a_template(1), a_template(6)])


def test_ids_whose_lengths_only_add_up_are_refused():
    one, other = a_template(1), a_template(2)
    with pytest.raises(TemplateRefused):
        Gallery.build("m", D, [one.template_id[:31], other.template_id + "0"], [one.person_id] * 2,
                      one.vector + other.vector, [one.scale, other.scale])


def test_a_template_that_comes_twice_is_refused():
    template = a_template(1)
    with pytest.raises(TemplateRefused, match="twice"):
        gallery_of([template, template])
    with pytest.raises(TemplateRefused, match="twice"):
        Gallery.empty("m", D).next(put=[template, template])


@pytest.mark.parametrize("vectors", [
    b"\1" * (D - 1), np.ones((1, D), np.float32), np.ones((D, 1), np.int8), np.ones((2, D), np.int8),
    np.full((1, D), np.nan),
])
def test_a_matrix_of_the_wrong_shape_is_refused(vectors):
    with pytest.raises(TemplateRefused):
        Gallery.build("m", D, [an_id(1)], [an_id(2)], vectors, [1 / np.sqrt(D)])


def test_columns_of_different_lengths_are_refused():
    template = a_template(1)
    with pytest.raises(TemplateRefused):
        Gallery.build("m", D, [template.template_id], [], template.vector, [template.scale])
    with pytest.raises(TemplateRefused):
        Gallery.build("m", D, [template.template_id], [template.person_id], template.vector, [])


@pytest.mark.parametrize("dimensions", [0, 1025])
def test_a_template_size_that_cannot_be_exact_is_refused(dimensions):
    with pytest.raises(TemplateRefused):
        Gallery.empty("m", dimensions)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=64))
def test_a_quantised_vector_comes_back_to_within_half_a_step(values):
    vector = np.array(values, np.float64)
    length = np.linalg.norm(vector)
    if length < 1e-3:
        vector[0], length = 1.0, np.hypot(length, 1.0)
    vector = (vector / np.linalg.norm(vector)).astype(np.float32)
    row, scale = quantise(vector)
    assert np.abs(dequantise(row, scale) - vector).max() <= scale * 0.5001
    assert max(abs(element) for element in np.frombuffer(row, np.int8).astype(int)) == 127


@pytest.mark.parametrize("vector", [
    np.zeros(D), np.full(D, np.nan), np.full(D, np.inf), np.full(D, 1e-42), np.ones(D), np.zeros(0),
    np.ones((2, D)) / np.sqrt(2 * D),
])
def test_what_is_no_unit_vector_cannot_become_a_template(vector):
    with pytest.raises(TemplateRefused):
        quantise(vector.astype(np.float32))


def test_no_vector_shows_in_a_repr():
    gallery = gallery_of([a_template(1)])
    assert repr(gallery) == "Gallery(generation 0, 1 templates of m)"
    with pytest.raises(ValueError, match="read-only"):
        gallery.rows[0] = 0

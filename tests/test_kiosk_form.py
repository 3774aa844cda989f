"""What a page may post: read strictly, field by field, and never quoted."""

from __future__ import annotations

import pytest

from device.kiosk.form import Form, PageRefused

HOSTILE = ("", " ", "\0", "a\nb", "\u202eabc", "\u200b", "\x1b[31m", "x" * 101, "x" * 10_000, "\ud800")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_line_of_text_is_refused(text: str) -> None:
    if text == "a\nb":
        assert Form({"label": text}).text("label", 100) == "a b"
        return
    with pytest.raises(PageRefused, match=r"^label must have 1 to 100 printable characters$"):
        Form({"label": text}).text("label", 100)


@pytest.mark.parametrize("text", ["Zoë O'Neill", "张伟", "\"; DROP TABLE people; --", "<script>alert(1)</script>",
                                  "👩🏽", "{name}", "שלום"])
def test_any_printable_line_is_a_name(text: str) -> None:
    assert Form({"label": f"  {text} "}).text("label", 100) == text


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}])
def test_what_is_no_text_is_refused(value: object) -> None:
    for read in (lambda form: form.text("x", 10), lambda form: form.digits("x", 10),
                 lambda form: form.choice("x", "a", "b")):
        with pytest.raises(PageRefused):
            read(Form({"x": value}))


@pytest.mark.parametrize("value", ["1", 1.0, None, True, -1, 11, 2**70])
def test_a_whole_number_is_one_within_its_bounds(value: object) -> None:
    with pytest.raises(PageRefused):
        Form({"x": value}).whole("x", 0, 10)


def test_a_missing_field_and_one_too_many_are_refused() -> None:
    with pytest.raises(PageRefused, match="pin must have"):
        Form({}).digits("pin", 12, 4)
    form = Form({"pin": "2718", "x" * 500: 1})
    assert form.digits("pin", 12, 4) == "2718"
    with pytest.raises(PageRefused, match=r"^'x{40}' is not asked for$"):
        form.end()

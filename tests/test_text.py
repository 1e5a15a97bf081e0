"""Text in the columns of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.names import natural_key
from toolkit.text import aligned, beginning, columns, ending, shorten, shortened, wrapped

NAMES = st.text(st.sampled_from("ab/_1é層…\u0301"), max_size=40)


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("é", 1), ("e\u0301", 1), ("層", 2), ("\uff37", 2), ("\uff76", 1), ("🙂", 2), ("…", 1)],
)
def test_columns_are_those_of_a_terminal(text, width):
    """The widths are those of Unicode Standard Annex #11: wide, fullwidth, halfwidth, and marks."""
    assert columns(text) == width


@given(st.sets(NAMES, max_size=40), st.integers(8, 30))
@example({f"{'x' * i}" for i in range(40)}, 8)
@example({f"…{'/' * i}" for i in range(40)}, 8)
def test_shortened_names_fit_and_differ_as_the_names_do(names, width):
    ordered = sorted(names)
    shown = shorten(ordered, width)
    assert len(set(shown)) == len(ordered)
    assert all(columns(text) <= width for text in shown)
    assert all(text == name for text, name in zip(shown, ordered, strict=True) if columns(name) <= width)


@given(NAMES, st.integers(0, 30), st.floats(0, 1))
def test_a_part_of_a_text_fits(text, width, share):
    assert text.startswith(beginning(text, width))
    assert text.endswith(ending(text, width))
    for part in (beginning(text, width), ending(text, width), shortened(text, width, share=share)):
        assert columns(part) <= width


@given(st.lists(NAMES, max_size=20).map(" ".join), st.integers(4, 30))
def test_what_is_wrapped_fits_and_loses_nothing(text, width):
    lines = wrapped(text, width, lead="  ", first="")
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_wrapped_text_is_broken_at_spaces_and_indented():
    assert wrapped("what is to be said of it", 12, lead="  ", first="a: ") == [
        "a: what is",
        "  to be said",
        "  of it",
    ]
    assert wrapped("what is to be said of it", None, lead="  ") == ["  what is to be said of it"]
    assert wrapped("", 12) == [""]


def test_rows_are_aligned_by_columns_and_empty_columns_left_out():
    assert aligned([("層", "", "x"), ("abc", "", "")]) == ["層   x", "abc"]


@given(st.lists(st.integers(0, 10**30), min_size=2, max_size=10))
def test_numbers_in_names_are_sorted_as_numbers(numbers):
    names = [f"layer_{number}/kernel" for number in numbers]
    assert sorted(names, key=natural_key) == [f"layer_{number}/kernel" for number in sorted(numbers)]


def test_names_too_long_to_be_cut_at_one_place_show_the_words_that_differ():
    """The slots of a bidirectional LSTM: neither beginnings nor ends tell them apart in 33 columns."""
    names = [
        f"…bidirectional_{way}_lstm_lstm_cell_{weight}_{slot}"
        for way in ("backward", "forward")
        for weight in ("bias", "kernel", "recurrent_kernel")
        for slot in ("momentum", "velocity")
    ]
    shown = shorten(["…/dense_kernel_momentum", *names], 33)
    assert len(set(shown)) == 13
    for name, text in zip(names, shown[1:], strict=True):
        assert columns(text) <= 33
        for word in ("nal_f", "forw", "bias", "kernel", "recur", "mom", "vel"):
            if word in text:
                assert word in name
        assert "forw" in text or "backw" in text or "bias" in text  # whose it is can be read
        assert "recur" in text or "recur" not in name

from __future__ import annotations

import numpy as np
import pytest

from facedistill.inspection.label_order import label_order


def test_identities_in_pieces_and_without_images() -> None:
    labels = np.array([0, 0, 3, 1, 1, 0, 3, 3, 4])
    order = label_order(labels, ("ann", "bob", "cid", "dot", "eve"))
    assert (order.several, order.scattered, order.scattered_names) == (3, 2, ("ann", "dot"))
    assert (order.empty, order.empty_names) == (1, ("cid",))
    assert order.shuffled  # two of three
    assert order.to_dict()["scattered_names"] == ["ann", "dot"]


def test_a_sorted_set_is_in_order() -> None:
    order = label_order(np.repeat(np.arange(5), 3), tuple("abcde"))
    assert (order.scattered, order.empty, order.shuffled) == (0, 0, False)
    # Going down is no disorder: nobody is in pieces.
    assert label_order(np.array([1, 1, 0, 0]), ("a", "b")).scattered == 0


def test_one_slip_is_no_shuffle() -> None:
    labels = np.repeat(np.arange(10), 4)
    labels[39] = 0
    order = label_order(labels, tuple(map(str, range(10))))
    assert (order.scattered, order.scattered_names, order.shuffled) == (1, ("0",), False)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("0", "1", "3", "4", "6"), ("2", "5")),
        (("1", "2"), ("0",)),
        (("0", "01", "3"), ()),  # names of folders
        (("12", "345678"), ()),  # people's numbers in some register
        (("0", "1", "x"), ()),
        (("²", "1"), ()),
    ],
)
def test_class_numbers_that_are_left_out(names: tuple[str, ...], missing: tuple[str, ...]) -> None:
    assert label_order(np.arange(len(names)), names).empty_names == missing


def test_few_names_are_listed() -> None:
    order = label_order(np.zeros(1, np.int64), tuple(f"p{number}" for number in range(50)))
    assert (order.empty, len(order.empty_names)) == (49, 10)

from __future__ import annotations

import math

import pytest
import torch

from facedistill.align.template import template
from facedistill.distill.cross_architecture_positions import (
    CELLS,
    facial_distance,
    grid_places,
    piecewise_index,
    position_buckets,
)


def test_grid_goes_row_by_row() -> None:
    assert grid_places(2, 2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert grid_places(1, 3)[:, 0].tolist() == pytest.approx([1 / 6, 1 / 2, 5 / 6])


def test_index_function_by_hand() -> None:
    """Alpha 2, beta 4, gamma 16: whole distances up to 2, then 2 + 2 ln(x / 2) / ln 8, never beyond 4."""
    distance = torch.tensor([0.0, 0.4, 0.6, 1.6, 2.0, 4.0, 2 * 8**0.49, 16.0, 1000.0])
    assert piecewise_index(distance, 5).tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 4]


def test_facial_distance_by_a_slow_loop() -> None:
    places, anchors = grid_places(3, 3), grid_places(2, 2)
    found = facial_distance(places, anchors)
    for row, anchor in enumerate(anchors.tolist()):
        for column, place in enumerate(places.tolist()):
            squares = [(math.dist(place, point / 112) - math.dist(anchor, point / 112)) ** 2 for point in template(112)]
            assert found[row, column].item() == pytest.approx(math.sqrt(sum(squares) / 5))


def test_a_face_is_nearly_symmetric_to_it() -> None:
    """The two sides of the face are far from each other, and lie alike to the landmarks only in the middle's view."""
    nose = torch.tensor([[0.5, 0.64]], dtype=torch.float64)
    left, right = torch.tensor([[0.25, 0.5]]).double(), torch.tensor([[0.75, 0.5]]).double()
    assert facial_distance(left, nose).item() == pytest.approx(facial_distance(right, nose).item(), rel=0.05)
    assert facial_distance(left, right).item() > 0.2


def test_buckets_of_the_same_places_are_those_of_any_map() -> None:
    """A pixel of a 6 x 6 map and the middle one of the 3 x 3 pixels in its place on an 18 x 18 map are one place."""
    anchors = grid_places(4, 4)
    coarse = position_buckets(grid_places(6, 6), anchors, gamma=1.0, buckets=8).view(16, 6, 6)
    fine = position_buckets(grid_places(18, 18), anchors, gamma=1.0, buckets=8).view(16, 18, 18)
    assert torch.equal(coarse, fine[:, 1::3, 1::3])


def test_gamma_weighs_the_facial_distance() -> None:
    places, anchors = grid_places(7, 7), grid_places(2, 2)
    plain = position_buckets(places, anchors, gamma=0, buckets=8)
    assert torch.equal(plain, piecewise_index(CELLS * torch.cdist(anchors, places), 8))
    faced = position_buckets(places, anchors, gamma=2, buckets=8)
    assert (faced >= plain).all()
    assert (faced > plain).any()
    assert faced.max() <= 7

"""Where a feature lies on the face, as the query position term of Cross-Architecture Distillation sees it."""

from __future__ import annotations

import math

import torch

from facedistill.align.template import template

CELLS = 7
"""Distances are in cells of the 7 x 7 map that most nets make of 112 pixels, whatever the map at hand. Ours."""

RATIOS = (1, 2, 8)
"""alpha : beta : gamma of iRPE's index function, as in its code: exact up to alpha, beta from gamma on."""


def grid_places(rows: int, columns: int) -> torch.Tensor:
    """Centres of the cells of a grid that covers the crop.

    Returns:
        (rows * columns, 2) float64: x and y as shares of the crop's side, row by row.
    """
    y = (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    x = (torch.arange(columns, dtype=torch.float64) + 0.5) / columns
    return torch.stack([x.repeat(rows), y.repeat_interleave(columns)], dim=1)


def landmark_places() -> torch.Tensor:
    """(5, 2) float64: the landmarks of an aligned face as shares of the crop's side, by the 112 pixel template."""
    size = 112
    return torch.from_numpy(template(size)) / size


def distances(places: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Euclidean distances from (N, 2) places to (M, 2) others, (N, M)."""
    return (places[:, None] - others[None]).square().sum(dim=2).sqrt()


def facial_distance(places: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """How differently two places lie to the five landmarks, in shares of the crop's side.

    D_face(i, a) = sqrt(mean over landmarks k of (|x_i - p_k| - |x_a - p_k|)^2). The paper has a distance relative to
    the landmarks; that it is this one is ours.

    Args:
        places: (N, 2) float64.
        anchors: (L, 2) float64.

    Returns:
        (L, N) float64.
    """
    landmarks = landmark_places()
    difference = distances(places, landmarks)[None] - distances(anchors, landmarks)[:, None]
    return difference.square().mean(dim=2).sqrt()


def piecewise_index(distance: torch.Tensor, buckets: int) -> torch.Tensor:
    """The bucket of each distance: fine nearby, coarse afar (iRPE, ICCV 2021, arXiv 2107.14222, equation 18).

    Rounded up to alpha; beyond it min(beta, round(alpha + ln(x / alpha) / ln(gamma / alpha) * (beta - alpha))).

    Args:
        distance: float, not negative.
        buckets: beta + 1, at least 2.

    Returns:
        int64 from 0 to `buckets` - 1, of the same shape.
    """
    beta = buckets - 1
    alpha = beta * RATIOS[0] / RATIOS[1]
    growth = (beta - alpha) / math.log(RATIOS[2] / RATIOS[0])
    far = alpha + (distance.clamp(min=alpha) / alpha).log() * growth
    return torch.where(distance <= alpha, distance, far.clamp(max=beta)).round().long()


def position_buckets(places: torch.Tensor, anchors: torch.Tensor, *, gamma: float, buckets: int) -> torch.Tensor:
    """I(D(i, a)) with D = Euclidean distance + gamma * facial distance, in cells.

    Args:
        places: (N, 2) float64, of pixels or tokens.
        anchors: (L, 2) float64, of the query centres.
        gamma: weight of the facial distance.
        buckets: how many there are.

    Returns:
        (L, N) int64.
    """
    distance = distances(anchors, places) + gamma * facial_distance(places, anchors)
    return piecewise_index(CELLS * distance, buckets)

"""Which pairs are the hardest, and how they are shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facedistill.data.images import decode_image
from facedistill.evaluation.judged_pairs import JudgedPairs
from facedistill.evaluation.report_page import hardest_pairs as module
from facedistill.evaluation.report_page.hardest_pairs import hardest_pairs, pairs_sheets
from facedistill.evaluation.verification import VerificationResult

Judge = Callable[[list[float], list[float]], JudgedPairs]


@pytest.mark.parametrize("count", [1, 5, 12, 400])
def test_they_are_the_head_of_a_sort(judge: Judge, count: int) -> None:
    distances = np.random.default_rng(0).integers(0, 40, (2, 300)) / 10  # with many ties
    judged = judge(*distances.tolist())
    order = sorted(range(300), key=lambda index: (-judged.distances[index], index))
    assert hardest_pairs(judged, same=True, count=count).tolist() == order[:count]
    order = sorted(range(300, 600), key=lambda index: (judged.distances[index], index))
    assert hardest_pairs(judged, same=False, count=count).tolist() == order[:count]


def shown(sheet: str) -> list[list[str]]:
    """The lines of each caption."""
    return [re.findall(r">([^<>]+)<", figure) for figure in re.findall("<figcaption>.*?</figcaption>", sheet)]


def test_captions(judge: Judge, noisy_result: Callable[..., VerificationResult]) -> None:
    result = replace(noisy_result(1), accuracy_threshold=1.2)
    sheets = pairs_sheets(result, judge([0.3, 1.2, 1.9], [1.0, 2.5]), 2)
    assert shown(sheets) == [
        ["image 2", "image 502", "cosine 0.050", "distance 1.900", "refused, wrongly"],
        ["image 1", "image 501", "cosine 0.400", "distance 1.200", "refused, wrongly"],
        ["image 3", "image 503", "cosine 0.500", "distance 1.000", "accepted, wrongly"],
        ["image 4", "image 504", "cosine -0.250", "distance 2.500", "refused, rightly"],
    ]
    assert sheets.count('class="wrong"') == 3
    assert sheets.count("no faces to show") == 2
    assert "2 pairs of 160" in sheets
    assert "<img" not in sheets


def test_faces(judge: Judge, photographed: Callable[..., VerificationResult], noisy_result: Any) -> None:
    judged = replace(judge([1.0, 2.0], [0.5, 0.6, 0.7]), pairs=np.array([[7, 8], [7, 9], [1, 2], [1, 3], [4, 5]]))
    photos = photographed(noisy_result(1), broken=(3, 9)).judged.images
    sheets = pairs_sheets(noisy_result(1), replace(judged, images=photos), 12)
    assert shown(sheets)[0][:4] == ["person/", "photo_7.jpg", "person/", "photo_9.jpg"]
    pictures = re.findall('src="data:image/jpeg;base64,([^"]+)"', sheets)
    decoded = [decode_image(base64.b64decode(picture), place="picture") for picture in pictures]
    assert [image.shape for image in decoded] == [(112, 80, 3)] * 8
    assert [round(float(image.mean())) for image in decoded] == [7, 7, 8, 1, 2, 1, 4, 5]
    assert sheets.count("no picture") == 2
    assert sheets.count("1 photo cannot be decoded.") == 2
    assert sorted(photos.asked) == [1, 2, 3, 4, 5, 7, 8, 9]  # each once


def test_a_huge_photo_does_not_stop_it(
    judge: Judge, photographed: Callable[..., VerificationResult], noisy_result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: Any, side: int) -> str:
        raise MemoryError

    monkeypatch.setattr(module, "thumbnail", fail)
    images = photographed(noisy_result(1)).judged.images
    assert pairs_sheets(noisy_result(1), replace(judge([1.0], [2.0]), images=images), 2).count("no picture") == 4

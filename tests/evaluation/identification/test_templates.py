from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.errors import DataError
from facedistill.evaluation.identification import templates as module
from facedistill.evaluation.identification.templates import template_descriptors


def published(
    original: Any, mirrored: Any, scores: Any, tids: Any, mids: Any, *, flip: bool, norm: bool, detector: bool
) -> tuple[Any, Any]:
    """insightface's IJB protocol, step by step: METHODS.md 9.2."""
    features = original + mirrored if flip else original
    if not norm:
        features = features / np.sqrt((features**2).sum(axis=1, keepdims=True))
    if detector:
        features = features * scores[:, None]
    ids = np.unique(tids)
    result = np.zeros((len(ids), features.shape[1]))
    for row, tid in enumerate(ids):
        of_template, media = features[tids == tid], mids[tids == tid]
        result[row] = sum(of_template[media == mid].mean(axis=0) for mid in np.unique(media))
    return ids, result / np.sqrt((result**2).sum(axis=1, keepdims=True))


def made(seed: int, images: int = 200) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "original": rng.normal(size=(images, 16)) * rng.uniform(0.2, 5, (images, 1)),
        "mirrored": rng.normal(size=(images, 16)),
        "scores": rng.uniform(0.1, 1, images),
        "tids": rng.integers(3, 30, images),
        "mids": rng.integers(0, 6, images),
    }


@pytest.mark.parametrize("at_once", [1, 7, 1 << 14])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("detector", [True, False])
def test_it_is_the_published_protocol(
    flip: bool, norm: bool, detector: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of one image, of some that cut through media and templates, and one for all."""
    monkeypatch.setattr(module, "_IMAGES_AT_ONCE", at_once)
    data = made(0)
    ids, expected = published(**data, flip=flip, norm=norm, detector=detector)
    found = template_descriptors(
        data["original"],
        data["tids"],
        data["mids"],
        mirrored=data["mirrored"] if flip else None,
        detector_scores=data["scores"] if detector else None,
        keep_norm=norm,
    )
    assert found.ids.tolist() == ids.tolist()
    assert found.descriptors.dtype == np.float64
    np.testing.assert_allclose(found.descriptors, expected, rtol=0, atol=1e-12)


def test_frames_of_a_video_count_as_one_photo() -> None:
    """By hand: medium 7 is a photo (1, 0), medium 8 a video whose frames mean (0, 3): (1, 3) / sqrt 10."""
    found = template_descriptors(
        np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 4.0]], dtype=np.float32), np.array([5, 5, 5]), np.array([8, 7, 8])
    )
    assert found.ids.tolist() == [5]
    np.testing.assert_allclose(found.descriptors, [[1 / np.sqrt(10), 3 / np.sqrt(10)]], atol=1e-15)
    np.testing.assert_array_equal(found.of(np.array([5, 5])), np.repeat(found.descriptors, 2, axis=0))


def test_equal_media_of_two_templates_are_two_media() -> None:
    """Template 1 is a photo of medium 8 and one of 9, template 2 one of 9: all three are weighed alike."""
    found = template_descriptors(np.eye(3), np.array([1, 1, 2]), np.array([8, 9, 9]))
    np.testing.assert_allclose(found.descriptors, [[np.sqrt(0.5), np.sqrt(0.5), 0], [0, 0, 1]], atol=1e-15)


@given(st.integers(0, 50))
def test_the_order_of_the_images_does_not_matter(seed: int) -> None:
    data = made(seed, images=40)
    shuffled = np.random.default_rng(seed + 1).permutation(40)
    first = template_descriptors(data["original"], data["tids"], data["mids"])
    second = template_descriptors(data["original"][shuffled], data["tids"][shuffled], data["mids"][shuffled])
    np.testing.assert_allclose(first.descriptors, second.descriptors, atol=1e-12)


def test_an_embedding_of_zeros_adds_nothing() -> None:
    found = template_descriptors(np.array([[0.0, 0.0], [3.0, 0.0]]), np.zeros(2, int), np.arange(2), keep_norm=False)
    np.testing.assert_array_equal(found.descriptors, [[1.0, 0.0]])


@pytest.mark.parametrize("fault", [0.0, np.nan, np.inf])
def test_templates_without_a_direction(fault: float) -> None:
    embeddings = np.ones((5, 3))
    embeddings[1:] = fault
    with pytest.raises(DataError, match=r"4 of 5 templates have no direction \(1, 2, 3, \.\.\.\)"):
        template_descriptors(embeddings, np.arange(5), np.arange(5))
    with pytest.raises(DataError, match=r"1 of 1 templates have no direction \(0\)"):
        template_descriptors(np.ones((2, 3)), np.zeros(2, int), np.arange(2), detector_scores=np.zeros(2))


@pytest.mark.parametrize(("images", "others"), [(0, 0), (3, 2)])
def test_arrays_that_do_not_belong_together(images: int, others: int) -> None:
    with pytest.raises(DataError, match=f"{images} embeddings, and"):
        template_descriptors(np.ones((images, 2)), np.zeros(others, int), np.zeros(others, int))

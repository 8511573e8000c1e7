from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facedistill.embedders.cache import make_cache
from facedistill.embedders.cache_ensemble import CombinedRows, EnsembleCache
from facedistill.embedders.cache_writer import write_cache
from facedistill.embedders.cached_rows import CachedRows
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.ensemble import Combination, EnsembleEmbedder
from facedistill.errors import DataError, ModelFileError, UsageError

from .made_teachers import Noise, Projection, resized


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return unit @ unit.T


def test_it_is_an_embedder() -> None:
    assert isinstance(EnsembleEmbedder([Projection()]), Embedder)


@pytest.mark.parametrize("weights", [None, [1, 1, 1], [3.0, 0.5, 1.5]])
def test_the_cosine_of_concat_is_the_mean_of_cosines(weights: list[float] | None) -> None:
    teachers = [Projection(), Projection(dimensions=5, seed=1), Projection(dimensions=40, seed=2, color="bgr")]
    ensemble = EnsembleEmbedder(teachers, weights, "concat")
    together = embed_dataset(ensemble, Noise()).original
    assert together.shape == (23, 61)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    expected = np.average(
        [cosines(embed_dataset(teacher, Noise()).original) for teacher in teachers], axis=0, weights=weights
    )
    assert np.allclose(cosines(together), expected, atol=1e-6)


def test_the_mean_is_that_of_unit_embeddings_by_weight() -> None:
    teachers = [Projection(), Projection(seed=1)]
    teachers[1].weights *= 100  # the lengths of embeddings say nothing
    images = np.stack([Noise().image(index) for index in range(5)])
    found = EnsembleEmbedder(teachers, [3, 1], "mean").embed(images)
    for row, image in enumerate(images):
        each = [teacher.embed(image[np.newaxis])[0].astype(np.float64) for teacher in teachers]
        expected = sum(weight * one / np.sqrt((one**2).sum()) for weight, one in zip((0.75, 0.25), each, strict=True))
        assert np.allclose(found[row], expected, atol=1e-6)


def test_every_member_sees_the_crop_at_its_own_size() -> None:
    """A crop that was shrunk for one member and enlarged again for another would be blurred."""
    small, large = Projection(4), Projection(16, seed=1)
    for teachers in ([small, large], [large, small]):
        small.shapes.clear()
        found = embed_dataset(EnsembleEmbedder(teachers), Noise(), batch_size=7)
        assert small.shapes[0] == (7, 8, 8, 3), "the crop as it is"
        singles = [embed_dataset(teacher, Noise()) for teacher in teachers]
        expected = np.concatenate(
            [one.original / np.linalg.norm(one.original, axis=1, keepdims=True) for one in singles], 1
        )
        assert np.allclose(found.original, expected * np.sqrt(0.5), atol=1e-6)
        assert found.mirrored is not None
        assert not np.allclose(found.original, found.mirrored, atol=1e-2)
        assert found.crop_sizes == ((8, 8),)


def test_crops_of_several_sizes_in_one_batch() -> None:
    class Sizes(Noise):
        def image(self, index: int) -> np.ndarray:
            image = super().image(index)
            return resized(image, 12) if index % 3 == 1 else image

    teachers = [Projection(), Projection(12, seed=1)]
    together = embed_dataset(EnsembleEmbedder(teachers), Sizes(), batch_size=8).original
    for index in (0, 1, 5, 22):
        expected = EnsembleEmbedder(teachers).embed(Sizes().image(index)[np.newaxis])[0]
        assert np.array_equal(together[index], expected)


def test_fingerprints_tell_ensembles_apart() -> None:
    def of(*teachers: Projection, weights: list[float] | None = None, combine: str = "concat") -> str:
        return EnsembleEmbedder(teachers, weights, combine).fingerprint  # type: ignore[arg-type]

    one, two = Projection(), Projection(seed=1)
    different = {
        of(one, two),
        of(two, one),
        of(one),
        of(one, two, weights=[2, 1]),
        of(one, two, combine="mean"),
        of(Projection(color="bgr"), two),
    }
    assert len(different) == 6
    assert of(one, two, weights=[2, 2]) == of(one, two)
    two.fingerprint = ""
    assert of(one, two) == ""


def test_its_preprocessing_is_of_the_largest_member() -> None:
    assert EnsembleEmbedder([Projection(4), Projection(16, color="bgr")]).preprocessing.size == 16
    assert EnsembleEmbedder([Projection(), Projection(seed=1)]).preprocessing == Projection().preprocessing


@pytest.mark.parametrize(
    ("sizes", "weights", "combine", "message"),
    [
        ([16, 8], None, "mean", "unequal sizes have no mean: projection-0 16, projection-1 8. Use concat"),
        ([16, 16], [1.0], "mean", "there are 2 teachers and 1 weights. Give one for each"),
        ([16, 16], [1.0, 0.0], "concat", "the weight of the teacher projection-1 is 0, and it must be above 0"),
        ([16, 16], [-1.0, 1.0], "concat", "the weight of the teacher projection-0 is -1"),
        ([16, 16], [1.0, float("nan")], "concat", "is nan"),
        ([16, 16], None, "sum", "teachers are not combined by 'sum'. Use mean or concat"),
        ([16, 16], [1e308, 1e-300], "concat", "so far apart that one counts for nothing"),
        ([], None, "concat", "there are no teachers"),
    ],
)
def test_bad_combinations(sizes: list[int], weights: list[float] | None, combine: str, message: str) -> None:
    teachers = [Projection(dimensions=size, seed=seed) for seed, size in enumerate(sizes)]
    with pytest.raises(UsageError, match=message):
        EnsembleEmbedder(teachers, weights, combine)  # type: ignore[arg-type]
    caches = [make_cache(teacher, Noise(), embed_dataset(teacher, Noise())) for teacher in teachers]
    with pytest.raises(UsageError, match=message):
        EnsembleCache(caches, weights, combine)  # type: ignore[arg-type]


def test_weights_whose_sum_overflows() -> None:
    combination = Combination([2, 2], [1e308, 1.5e308], "mean", names=["a", "b"])
    assert combination.weights == pytest.approx([0.4, 0.6])
    assert np.allclose(combination([np.eye(2, dtype=np.float32)] * 2), np.eye(2))


@pytest.mark.parametrize("combine", ["mean", "concat"])
def test_caches_combine_as_their_teachers_do(tmp_path: Path, combine: str) -> None:
    teachers = [Projection(), Projection(12, seed=1)]
    ensemble = EnsembleEmbedder(teachers, [2, 1], combine)  # type: ignore[arg-type]
    expected = embed_dataset(ensemble, Noise())
    # One from the disk and one model that was only run: any mix can teach.
    caches = [
        write_cache(teachers[0], Noise(), tmp_path),
        make_cache(teachers[1], Noise(), embed_dataset(teachers[1], Noise())),
    ]
    together = EnsembleCache(caches, [2, 1], combine)  # type: ignore[arg-type]
    assert together.model_fingerprint == ensemble.fingerprint
    assert together.model == ensemble.name == f"{combine}(0.667 projection-0 + 0.333 projection-1)"
    assert (together.embedding_size, together.preprocessing) == (ensemble.embedding_size, ensemble.preprocessing)
    rows = together.of(Noise())
    assert (len(rows), rows.embedding_size) == (23, ensemble.embedding_size)
    for found, right in zip(rows.all(), (expected.original, expected.mirrored), strict=True):
        assert np.allclose(found, right, atol=5e-4)
    indices, flags = np.array([3, 22, 3]), np.array([True, False, False])
    original, mirrored = rows.all()
    assert np.allclose(rows.lookup(indices, flags), np.stack([mirrored[3], original[22], original[3]]), atol=1e-6)


def test_an_image_that_one_teacher_lacks() -> None:
    whole = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    holes = whole.copy()
    holes[2] = np.nan
    members = [CachedRows.in_memory(whole, whole), CachedRows.in_memory(holes, holes)]
    rows = CombinedRows(members, Combination([3, 3], None, "concat", names=["a", "b"]))
    assert rows.present.tolist() == [True, True, False, True]
    assert np.isnan(rows.all()[0][2]).any()
    for found, all_of_them in zip(rows.raw(np.array([3, 2])), rows.all(), strict=True):
        assert np.array_equal(found, all_of_them[[3, 2]], equal_nan=True)
    with pytest.raises(DataError, match="no embedding of '2'"):
        rows.lookup(np.array([2]), np.array([False]))


def test_a_cache_of_other_images_is_refused() -> None:
    caches = [make_cache(Projection(), Noise(count), embed_dataset(Projection(), Noise(count))) for count in (23, 9)]
    with pytest.raises(ModelFileError, match="the cache lacks 14 of 23 images"):
        EnsembleCache(caches).of(Noise())

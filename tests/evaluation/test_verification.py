from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facedistill.embedders.embedder import Embedder
from facedistill.embedders.onnx_embedder import OnnxEmbedder
from facedistill.errors import DataError, ModelFileError
from facedistill.evaluation.benchmark import Benchmark, load_bin_benchmark
from facedistill.evaluation.descriptors import unit_embeddings
from facedistill.evaluation.metrics import far_label, fold_accuracies, squared_distances
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.verification import (
    VerificationResult,
    evaluate_embeddings,
    evaluate_verification,
)
from facedistill.preprocessing import Preprocessing

NoisyPairs = Callable[..., tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]]
NoisyResult = Callable[..., VerificationResult]


@pytest.fixture
def color_benchmark(photos: Path) -> Benchmark:
    people = ["Ann", "Bo_B", "Cy", "Di"]
    matched = [f"{name}\t{a}\t{b}" for name in people for a, b in ((1, 2), (3, 4), (1, 4))]
    mismatched = [f"{a}\t1\t{b}\t2" for a in people for b in people if a != b]
    path = photos.parent / "colors.txt"
    path.write_text("\n".join([str(len(matched)), *matched, *mismatched]))
    return load_pair_list(path, photos)


def test_colours_are_told_apart(color_embedder: type[Any], color_benchmark: Benchmark) -> None:
    embedder = color_embedder()
    assert isinstance(embedder, Embedder)
    seen: list[tuple[int, int]] = []
    result = evaluate_verification(
        embedder, color_benchmark, batch_size=5, progress=lambda done, total: seen.append((done, total))
    )
    assert (result.pairs, result.genuine, result.impostor) == (24, 12, 12)
    assert result.accuracy == 1.0
    assert result.accuracy_std == 0.0
    assert result.folds.accuracies == (1.0,) * 10
    assert result.tar_at_far == {"1e-1": 1.0, "1e-2": None, "1e-3": None, "1e-4": None}
    assert result.unresolvable["1e-3"] == "needs 1,000 impostor pairs"
    assert result.warnings == ()
    assert result.notes == ()
    assert result.fold_scheme == "10 stratified folds"
    assert result.source_sha256 == color_benchmark.source_sha256
    assert embedder.images == 2 * 16, "each image of the list once, and its mirror image"
    assert seen[-1] == (16, 16)


def test_only_images_of_the_pairs_are_embedded(
    color_embedder: type[Any], encoded: Callable[..., bytes], tmp_path: Path
) -> None:
    """Of a `.bin` file's 48 images here, 4 are different."""
    red, pink, green, lime = (encoded(color) for color in ((255, 0, 0), (255, 9, 9), (0, 255, 0), (9, 255, 9)))
    from facedistill.data.verification_bin import write_bin

    images = [red, pink, red, green, green, lime, pink, lime] * 6
    write_bin(tmp_path / "set.bin", images, [True, False] * 12)
    embedder = color_embedder()
    result = evaluate_verification(embedder, load_bin_benchmark(tmp_path / "set.bin"))
    assert embedder.images == 8
    assert result.accuracy == 1.0
    assert result.fold_scheme == "10 contiguous folds"


class Ramps:
    """Two people; every image is darker on its left side, and its green channel is the person."""

    def __len__(self) -> int:
        return 20

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        image = np.zeros((8, 8, 3), dtype=np.uint8)
        image[..., 0] = np.arange(8)
        image[..., 1] = index % 2
        return image

    def key(self, index: int) -> str:
        return str(index)


class Sided:
    """Gives 3 times the person's axis for an original, and once the third axis for a mirrored image."""

    name = "sided"
    fingerprint = "5" * 64
    embedding_size = 3
    preprocessing = Preprocessing(size=8)

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        mirrored = images[:, 0, 0, 0] > images[:, 0, -1, 0]
        axis = np.where(mirrored, 2, images[:, 0, 0, 1])
        return (np.eye(3)[axis] * np.where(mirrored, 1, 3)[:, np.newaxis]).astype(np.float32)


def test_original_and_mirrored_embedding_are_summed_before_they_are_normalised() -> None:
    """The people are (3, 0, 1) and (0, 3, 1) over the root of 10, a cosine of 0.1; normalised first it were 0.5."""
    same = np.repeat([True, False], 10)
    pairs = np.array(
        [(index, index + 2 if flag else index + 1) for index, flag in zip([*range(10)] * 2, same, strict=True)]
    )
    benchmark = Benchmark("sides", Ramps(), pairs, same, np.tile(np.arange(10), 2), "given")
    result = evaluate_verification(Sided(), benchmark, batch_size=7)
    assert result.thresholds["1e-1"]["cosine"] == pytest.approx(0.1, abs=1e-6)
    assert result.thresholds["1e-1"]["squared_l2"] == pytest.approx(1.8, abs=1e-6)
    assert result.accuracy == 1.0


def test_a_resized_crop_is_told(color_embedder: type[Any], photos: Path) -> None:
    (photos / "list.csv").write_text(
        "path_a,path_b,same\n"
        + "".join(f"Ann/Ann_000{a}.png,Ann/Ann_000{b}.png,1\n" for a, b in ((1, 2), (3, 4)))
        + "".join(f"Ann/Ann_000{a}.png,Cy/Cy_000{a}.png,0\n" for a in (1, 2))
    )
    result = evaluate_verification(color_embedder(size=4), load_pair_list(photos / "list.csv", photos))
    assert len(result.notes) == 1
    assert "crops of 8x8 are resized to 4x4" in result.notes[0]


def test_a_corrupt_image_of_a_benchmark_is_never_left_out(
    color_embedder: type[Any], color_benchmark: Benchmark, photos: Path
) -> None:
    (photos / "Cy" / "Cy_0001.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"Cy_0001\.png: the image is truncated"):
        evaluate_verification(color_embedder(), color_benchmark)


def test_the_figures_are_those_of_the_pure_functions(noisy_pairs: NoisyPairs) -> None:
    embeddings, pairs, same = noisy_pairs(0)
    folds = np.random.default_rng(1).integers(0, 5, len(same))
    result = evaluate_embeddings(embeddings, pairs, same, folds, name="made", fars=(1e-1, 5e-2))
    distances = squared_distances(embeddings, pairs)
    assert 0.7 < result.accuracy < 1.0
    assert result.folds == fold_accuracies(distances, same, folds)
    assert list(result.operating_points) == ["1e-1", "5e-2"]
    assert result.warnings == ()


def test_a_threshold_is_given_as_distance_and_as_cosine(noisy_pairs: NoisyPairs) -> None:
    embeddings, pairs, same = noisy_pairs(2)
    result = evaluate_embeddings(embeddings, pairs, same, name="made")
    cosines = np.sum(embeddings[pairs[:, 0]] * embeddings[pairs[:, 1]], axis=1)
    distances = squared_distances(embeddings, pairs)
    assert set(result.thresholds) == {"accuracy", "1e-1", "1e-2"}
    for label, threshold in result.thresholds.items():
        by_distance = distances < threshold["squared_l2"]
        away = np.abs(distances - threshold["squared_l2"]) > 1e-9
        assert (by_distance == (cosines > threshold["cosine"]))[away].all()
        if label != "accuracy":
            assert np.mean(by_distance[same]) == result.tar_at_far[label]


def test_the_json_shape(noisy_result: NoisyResult) -> None:
    values = json.loads(json.dumps(noisy_result(3).to_dict(), allow_nan=False))
    assert {"name", "pairs", "accuracy", "accuracy_std", "folds", "tar_at_far", "thresholds"} <= set(values)
    assert 0.5 < values["accuracy"] <= 1.0, "fractions, not percentages"
    assert len(values["folds"]) == 10
    assert values["accuracy"] == pytest.approx(np.mean(values["folds"]))
    assert values["accuracy_std"] == pytest.approx(np.std(values["folds"]))
    assert list(values["tar_at_far"]) == ["1e-1", "1e-2", "1e-3", "1e-4"]
    assert values["tar_at_far"]["1e-3"] is None
    assert values["unresolvable"] == {"1e-3": "needs 1,000 impostor pairs", "1e-4": "needs 10,000 impostor pairs"}
    assert set(values["thresholds"]["1e-2"]) == {"squared_l2", "cosine"}
    assert 0.5 < values["auc"] <= 1.0
    assert 0.0 <= values["eer"] < 0.5


def test_the_table(noisy_result: NoisyResult) -> None:
    result = noisy_result(3)
    columns, (row,) = result.table()
    assert columns == [
        "benchmark", "pairs", "accuracy", "EER", "AUC", "TAR at 1e-1", "TAR at 1e-2", "TAR at 1e-3", "TAR at 1e-4",
        "L2² / cos",
    ]  # fmt: skip
    assert row[:2] == ["made", "320"]
    assert row[2] == f"{100 * result.accuracy:.2f} ± {100 * result.accuracy_std:.2f}"
    assert row[3:5] == [f"{100 * result.roc.equal_error_rate:.2f}", f"{100 * result.roc.area:.2f}"]
    assert row[7:9] == ["-", "-"]


@pytest.mark.parametrize("seed", range(3))
def test_inverted_flags_are_noticed(noisy_pairs: NoisyPairs, seed: int) -> None:
    embeddings, pairs, same = noisy_pairs(seed, noise=0.1)
    folds = np.tile(np.arange(10), len(same))[: len(same)]
    right = evaluate_embeddings(embeddings, pairs, same, folds, name="made")
    assert right.warnings == ()
    inverted = evaluate_embeddings(embeddings, pairs, ~same, folds, name="made")
    assert len(inverted.warnings) == 1
    assert "the flags look inverted" in inverted.warnings[0]
    assert f"{100 * right.accuracy:.2f} % if same and different are swapped" in inverted.warnings[0]


def test_chance_is_not_taken_for_inverted_flags(noisy_pairs: NoisyPairs) -> None:
    below = 0
    for seed in range(8):
        embeddings, pairs, same = noisy_pairs(seed)
        shuffled = np.random.default_rng(seed).permutation(same)
        result = evaluate_embeddings(embeddings, pairs, shuffled, name="made")
        assert not any("inverted" in warning for warning in result.warnings)
        assert any("no better than chance" in warning for warning in result.warnings) == (result.accuracy < 0.5)
        below += result.accuracy < 0.5
    assert 0 < below < 8, "one of the two cases does not occur"


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_collapsed_embeddings_are_noticed(noisy_pairs: NoisyPairs, noise: float) -> None:
    _, pairs, same = noisy_pairs(0)
    raw = np.ones((160, 16)) + noise * np.random.default_rng(0).normal(size=(160, 16))
    result = evaluate_embeddings(unit_embeddings(raw.astype(np.float32)), pairs, same, name="made")
    assert any("have collapsed" in warning for warning in result.warnings)
    assert result.accuracy == 0.5


def test_pairs_of_an_image_with_itself_are_noticed(noisy_pairs: NoisyPairs) -> None:
    embeddings, pairs, same = noisy_pairs(0)
    pairs[:3, 1] = pairs[:3, 0]
    assert evaluate_embeddings(embeddings, pairs, same, name="made").warnings == (
        "3 pairs compare an image with itself",
    )


def test_pairs_that_stand_in_the_list_again(noisy_pairs: NoisyPairs) -> None:
    embeddings, pairs, same = noisy_pairs(0)
    pairs[[1, 2]], same[[1, 2]] = pairs[0], same[0]
    pairs[2] = pairs[2, ::-1]
    assert evaluate_embeddings(embeddings, pairs, same, name="made").warnings == (
        "2 pairs stand in the list more than once",
    )


def test_units_of_raw_embeddings() -> None:
    raw = np.array([[3.0, 4.0], [0.0, -2.0], [1e-30, 0.0], [3e30, 4e30]], dtype=np.float32)
    expected = np.array([[0.6, 0.8], [0.0, -1.0], [1.0, 0.0], [0.6, 0.8]])
    assert unit_embeddings(raw) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("fault", "message"), [(np.nan, "is not finite"), (np.inf, "is not finite"), (0.0, "is all zeros")]
)
def test_embeddings_without_a_direction(fault: float, message: str) -> None:
    raw = np.ones((4, 3), dtype=np.float32)
    raw[1] = raw[3] = fault
    with pytest.raises(ModelFileError, match=rf"m\.onnx: the embedding of image 'b' {message}.*and so are 1 others"):
        unit_embeddings(raw, ["a", "b", "c", "d"], place="m.onnx")


def test_embeddings_that_are_not_finite_are_refused(noisy_pairs: NoisyPairs) -> None:
    embeddings, pairs, same = noisy_pairs(0)
    embeddings[7] = np.nan
    with pytest.raises(DataError, match="made: the embeddings are not finite"):
        evaluate_embeddings(embeddings, pairs, same, name="made")


def test_labels_of_rates() -> None:
    assert [far_label(far) for far in (1e-1, 1e-4, 5e-3, 2.5e-3, 1e-6)] == ["1e-1", "1e-4", "5e-3", "2.5e-3", "1e-6"]


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(
    ("color", "accuracy", "std", "tars"),
    [("rgb", 0.9945, 0.0030, (0.9943, 0.9870)), ("bgr", 0.9903, 0.0048, (0.9903, 0.9807))],
)
def test_the_reference_figures_of_lfw(
    realdata: Path, color: str, accuracy: float, std: float, tars: tuple[float, float]
) -> None:
    lfw = realdata / "data" / "lfw"
    benchmark = load_pair_list(lfw / "protocol" / "pairs.txt", lfw / "aligned")
    embedder = OnnxEmbedder(realdata / "models" / "mobilefacenet_192_nchw.onnx", color=color, std=128.0)
    result = evaluate_verification(embedder, benchmark)
    assert result.accuracy == pytest.approx(accuracy, abs=2e-4)
    assert result.accuracy_std == pytest.approx(std, abs=1e-4)
    assert result.tar_at_far["1e-2"] == pytest.approx(tars[0], abs=1e-3)
    assert result.tar_at_far["1e-3"] == pytest.approx(tars[1], abs=1e-3)
    assert result.tar_at_far["1e-4"] is None
    assert result.warnings == ()


@pytest.mark.realdata
def test_part_of_lfw(realdata: Path, tmp_path: Path) -> None:
    """The first 50 pairs of each class in the first two folds: 317 photos, on which one fold has 3 errors, one none."""
    lfw = realdata / "data" / "lfw"
    lines = (lfw / "protocol" / "pairs.txt").read_text().splitlines()
    part = ["2\t50", *(line for start in (1, 301, 601, 901) for line in lines[start : start + 50])]
    (tmp_path / "part.txt").write_text("\n".join(part))
    benchmark = load_pair_list(tmp_path / "part.txt", lfw / "aligned")
    embedder = OnnxEmbedder(realdata / "models" / "mobilefacenet_192_nchw.onnx", std=128.0)
    result = evaluate_verification(embedder, benchmark)
    assert len(benchmark.dataset) == 317
    assert result.folds.accuracies == pytest.approx((1.0, 0.97), abs=0.011)
    assert result.tar_at_far["1e-2"] == 1.0
    assert result.thresholds["1e-2"]["squared_l2"] == pytest.approx(1.3573, abs=1e-3)

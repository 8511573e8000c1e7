from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.data.folder import FolderDataset
from facedistill.data.synthetic import SyntheticFaces
from facedistill.errors import DataError, UsageError
from facedistill.evaluation.make_pairs import MadePairs, make_pairs, make_pairs_of, write_pairs
from facedistill.evaluation.pair_list import load_pair_list
from facedistill.evaluation.pairs_drawing import between, even_counts, most_similar_between, within
from facedistill.evaluation.pairs_text import ListedPair, csv_text, lfw_text
from facedistill.evaluation.verification import evaluate_verification


def labels_of(*images: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(images), dtype=np.int64), images)


def check(made: MadePairs, labels: npt.NDArray[np.int64], pairs: int, folds: int) -> None:
    """What every benchmark has to be."""
    people = labels[made.pairs]
    assert made.same.tolist() == (people[:, 0] == people[:, 1]).tolist()
    assert (made.pairs[:, 0] < made.pairs[:, 1]).all()
    assert len({tuple(pair) for pair in made.pairs.tolist()}) == len(made.pairs), "no pair twice, either way round"
    for fold in range(folds):
        here = made.folds == fold
        assert int((here & made.same).sum()) == int((here & ~made.same).sum()) == pairs
    owners = [set(people[made.folds == fold].ravel().tolist()) for fold in range(folds)]
    assert not any(one & other for one, other in combinations(owners, 2)), "folds share nobody"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 7), min_size=4, max_size=20),
    st.integers(2, 4),
    st.integers(1, 12),
    st.integers(0, 9),
    st.booleans(),
    st.sampled_from([0.0, 0.4, 1.0]),
)
def test_every_benchmark(
    images: list[int], folds: int, pairs: int, seed: int, with_model: bool, hard_share: float
) -> None:
    labels = np.random.default_rng(seed).permutation(labels_of(*images))

    def embed(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        raw = np.random.default_rng(3).normal(size=(len(labels), 4))[indices]
        return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))

    def make(wanted: int) -> MadePairs:
        chosen = embed if with_model else None
        return make_pairs(
            labels, pairs=wanted, folds=folds, seed=seed, embed=chosen, hard_share=hard_share, candidates=9
        )

    try:
        made = make(pairs)
    except DataError as error:
        possible = int(str(error).split(" make ")[1].split()[0])
        assert possible < pairs
        if possible:
            check(make(possible), labels, possible, folds)
        return
    check(made, labels, pairs, folds)
    again = make(pairs)
    assert np.array_equal(again.pairs, made.pairs)
    assert np.array_equal(again.folds, made.folds)
    for fold in range(folds):  # Nobody has a pair more than somebody who could have had one more.
        genuine = labels[made.pairs[(made.folds == fold) & made.same][:, 0]]
        counts = np.bincount(genuine, minlength=len(images))
        sizes = np.bincount(labels, minlength=len(images))
        open_ones = [
            counts[person]
            for person in set(genuine.tolist())
            if counts[person] < sizes[person] * (sizes[person] - 1) // 2
        ]
        assert not open_ones or counts.max() <= min(open_ones) + 1


def test_the_seed_decides() -> None:
    labels = labels_of(*[6] * 40)
    one, two = (make_pairs(labels, pairs=20, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.pairs, two.pairs)


def test_nobody_dominates() -> None:
    labels = labels_of(500, *[3] * 39)
    made = make_pairs(labels, pairs=20, folds=2)
    check(made, labels, 20, 2)
    owners = labels[made.pairs]
    assert np.bincount(owners[made.same][:, 0]).tolist() == [1] * 40
    impostors = np.bincount(owners[~made.same].ravel())
    assert impostors[0] <= 6, "two people are drawn before their images, so 500 images are no advantage"


def test_who_has_too_few_images_leaves_the_rest_to_the_others() -> None:
    made = make_pairs(labels_of(2, 2, 5, 5), pairs=6, folds=2)
    counts = np.bincount(labels_of(2, 2, 5, 5)[made.pairs[made.same][:, 0]])
    assert counts.tolist() == [1, 1, 5, 5]


def test_people_with_one_image_are_impostors_only() -> None:
    labels = labels_of(4, 4, 1, 1, 1, 1)
    made = make_pairs(labels, pairs=6, folds=2)
    check(made, labels, 6, 2)
    assert set(labels[made.pairs[made.same]].ravel().tolist()) == {0, 1}
    assert set(labels[made.pairs[~made.same]].ravel().tolist()) == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("images", "pairs", "folds", "message"),
    [
        # Two people a fold, of 3 images each: 6 genuine pairs, 9 impostor pairs.
        ([3] * 4, 7, 2, r"4 people, 4 of them with two images or more, make 6 genuine .* 2 folds, and 7 .*--pairs 6"),
        # 2 and 4 images: 7 genuine and 8 impostor pairs; 4 and 1: 6 and 4.
        ([4, 4, 2, 1], 5, 2, r"make 4 genuine"),
        ([5, 5, 5], 1, 2, r"3 people, .* make 0 genuine .* Use fewer --folds: each needs two people"),
        ([1] * 30, 1, 10, r"30 people, 0 of them with two images or more, make 0 genuine"),
        ([3] * 30, 10, 10, r"make 9 genuine .*Use --pairs 9, or fewer --folds"),
    ],
)
def test_too_few_people_or_images(images: list[int], pairs: int, folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_pairs(labels_of(*images), pairs=pairs, folds=folds)


@pytest.mark.parametrize(("settings_", "message"), [
    ({"pairs": 0}, "10 folds with 0 pairs"), ({"folds": 1}, "1 folds with 300"),
    ({"hard_share": 1.5}, "share of hard pairs is 1.5"),
])  # fmt: skip
def test_numbers_out_of_range(settings_: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_pairs(labels_of(3, 3), **settings_)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_even_counts_are_those_of_dealing_in_turns(capacities: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(capacities)))
    counts = even_counts(np.array(capacities), total, np.random.default_rng(0))
    dealt, left = [0] * len(capacities), total
    while left:
        for person, capacity in enumerate(capacities):
            if left and dealt[person] < capacity:
                dealt[person] += 1
                left -= 1
    assert sorted(counts.tolist()) == sorted(dealt)
    assert int(counts.sum()) == total
    assert (counts <= np.array(capacities)).all()


@pytest.mark.parametrize("number", [2, 3, 7, 40])
def test_all_pairs_of_one_person(number: int) -> None:
    images = np.arange(100, 100 + number)
    pairs = within(images, number * (number - 1) // 2, np.random.default_rng(0))
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == set(combinations(images.tolist(), 2))


def test_pairs_of_a_person_with_very_many_images() -> None:
    images = np.arange(3_000_000)
    pairs = within(images, 1000, np.random.default_rng(0))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.max() < len(images)
    assert len(np.unique(pairs, axis=0)) == 1000


def test_all_pairs_between_people() -> None:
    people = [np.array([0, 1]), np.array([2]), np.array([3, 4, 5])]
    pairs = between(people, 11, np.random.default_rng(0))
    wanted = {(a, b) for one, other in combinations(people, 2) for a in one.tolist() for b in other.tolist()}
    assert {tuple(pair) for pair in pairs.tolist()} == wanted
    few = between([np.array([0]), np.array([1]), np.arange(2, 900)], 6, np.random.default_rng(0))
    assert (few == [0, 1]).all(axis=1).sum() == 1


def test_the_hardest_pairs_by_hand() -> None:
    # Angles in degrees; people 0 and 1 are alike in every image, so that their four pairs are the most similar.
    angles = np.radians([0, 1, 2, 4, 90, 60, 200])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    people = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5]), np.array([6])]
    pairs = most_similar_between(people, embeddings, 20).tolist()
    # The best of each couple, the most alike couple first: 1, 56, 59, 110, 160 and 162 degrees apart.
    assert pairs[:6] == [[1, 2], [3, 5], [1, 5], [4, 6], [0, 6], [2, 6]]
    assert pairs[6] == [0, 2], "then the second best, 2 degrees apart"
    slow = {}
    for one, other in combinations(range(4), 2):
        ranked = sorted(
            (
                (float(embeddings[a] @ embeddings[b]), a, b)
                for a in people[one].tolist()
                for b in people[other].tolist()
            ),
            reverse=True,
        )
        for turn, (cosine, a, b) in enumerate(ranked):
            slow[a, b] = (turn, -round(cosine, 9))
    assert [slow[a, b] for a, b in pairs] == sorted(slow.values())


def test_a_model_chooses_the_most_similar_impostors() -> None:
    labels = labels_of(*[3] * 24)
    rng = np.random.default_rng(1)
    raw = rng.normal(size=(len(labels), 6))
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    asked: list[npt.NDArray[np.int64]] = []

    def embed(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        asked.append(indices)
        return unit[indices]

    made = make_pairs(labels, pairs=5, folds=2, embed=embed)
    check(made, labels, 5, 2)
    assert made.hard == 10
    assert len(asked) == 1
    assert len(np.unique(asked[0])) == len(asked[0]) == 72
    random = make_pairs(labels, pairs=5, folds=2)
    assert np.array_equal(made.pairs[made.same], random.pairs[random.same]), (
        "genuine pairs are the same without a model"
    )
    everybody = make_pairs(labels, pairs=36, folds=2)
    for fold in range(2):
        owners = set(labels[everybody.pairs[everybody.folds == fold]].ravel().tolist())
        assert len(owners) == 12
        members = [index for index in range(72) if labels[index] in owners]
        best: dict[tuple[int, int], float] = {}
        for a, b in combinations(members, 2):
            if labels[a] != labels[b]:
                couple = (int(labels[a]), int(labels[b]))
                best[couple] = max(best.get(couple, -1), float(unit[a] @ unit[b]))
        chosen = made.pairs[(made.folds == fold) & ~made.same]
        values = sorted((float(unit[a] @ unit[b]) for a, b in chosen), reverse=True)
        assert values == pytest.approx(sorted(best.values(), reverse=True)[:5])


def test_a_share_of_hard_pairs_and_few_candidates() -> None:
    labels = labels_of(*[4] * 20)

    def embed(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        assert len(indices) == 12, "6 of each fold"
        return np.eye(len(labels))[indices]

    made = make_pairs(labels, pairs=10, folds=2, embed=embed, hard_share=0.5, candidates=6)
    check(made, labels, 10, 2)
    assert made.hard == 10


FACES = SyntheticFaces(12, 4, size=32)


def test_what_is_written_is_read_back_and_the_same_again(tmp_path: Path) -> None:
    made = make_pairs_of(FACES, pairs=6, folds=3, seed=5)
    write_pairs(tmp_path / "a.csv", made, FACES)
    write_pairs(tmp_path / "b.csv", make_pairs_of(FACES, pairs=6, folds=3, seed=5), FACES)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == "path_a,path_b,same,fold"
    benchmark = load_pair_list(tmp_path / "a.csv", FACES)
    names = [[benchmark.dataset.key(index) for index in pair] for pair in benchmark.pairs.tolist()]
    assert names == [[FACES.key(index) for index in pair] for pair in made.pairs.tolist()]
    assert benchmark.same.tolist() == made.same.tolist()
    assert benchmark.folds.tolist() == made.folds.tolist()


def test_lfw_format(photos: Path, color_embedder: type, tmp_path: Path) -> None:
    dataset = FolderDataset(photos)
    made = make_pairs_of(dataset, color_embedder(), pairs=4, folds=2)
    write_pairs(tmp_path / "pairs.txt", made, dataset)
    lines = (tmp_path / "pairs.txt").read_text().splitlines()
    assert lines[0] == "2\t4"
    assert [len(line.split("\t")) for line in lines[1:]] == ([3] * 4 + [4] * 4) * 2
    benchmark = load_pair_list(tmp_path / "pairs.txt", photos)
    write_pairs(tmp_path / "pairs.csv", made, dataset)
    other = load_pair_list(tmp_path / "pairs.csv", photos)
    assert np.array_equal(benchmark.pairs, other.pairs)
    assert np.array_equal(benchmark.folds, other.folds)
    result = evaluate_verification(color_embedder(), benchmark)
    assert result.accuracy == 1.0
    assert result.pairs == 16


def test_names_that_lfw_cannot_hold(tmp_path: Path) -> None:
    made = make_pairs_of(FACES, pairs=2, folds=2)
    with pytest.raises(UsageError, match=r"cannot name 'person_0000.*/000.'.*\. Write a \.csv list instead"):
        write_pairs(tmp_path / "pairs.txt", made, FACES)
    with pytest.raises(UsageError, match=r"ends in \.csv or \.txt, not in '\.tsv'"):
        write_pairs(tmp_path / "pairs.tsv", made, FACES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["a/a_1.jpg", "a/a_00001.jpg", "a/b_0001.jpg", "a_0001.jpg", "a/a_0001.5.jpg", "a/a_\u0661.jpg"]
)
def test_a_name_that_is_no_lfw_name(name: str) -> None:
    with pytest.raises(UsageError, match="LFW's format cannot name"):
        lfw_text([ListedPair(name, "a/a_0002.jpg", True, "0")])


def test_names_with_odd_letters() -> None:
    names = ['a,b/"x".jpg', "\u00e9 \u2028/1.jpg", "line\nend/2.jpg", "Dr. X/1", "q/1.jpg"]
    text = csv_text([ListedPair(name, "q/1.jpg", False, None) for name in names])
    assert text.startswith("path_a,path_b,same\n")
    for name in ("back\\slash/1.jpg", " blank/1.jpg", "x/1\udcff.jpg", "./x.jpg", ""):
        with pytest.raises(DataError, match="cannot stand in a pair list"):
            csv_text([ListedPair(name, "q/1.jpg", True, None)])
    for person in ("Dr. X", "de la Rue", "x.jpg"):
        pair = ListedPair(f"{person}/{person}_0001.png", f"{person}/{person}_12345.jpg", True, "0")
        assert (
            lfw_text([pair, ListedPair(pair.first, "b/b_0001.jpg", False, "0")]).splitlines()[1]
            == f"{person}\t1\t12345"
        )
    with pytest.raises(UsageError, match="holds what LFW's format cannot"):
        lfw_text([ListedPair("a\tb/a\tb_0001.jpg", "c/c_0001.jpg", False, "0")] * 2)


def test_a_chosen_image_that_is_corrupt(photos: Path) -> None:
    for file in (photos / "Ann").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"an image that was chosen is of no use: .*--exclude"):
        make_pairs_of(FolderDataset(photos), pairs=4, folds=2)


def test_two_images_of_one_key(tmp_path: Path) -> None:
    class Same(SyntheticFaces):
        def key(self, index: int) -> str:
            return "x.jpg"

    faces = Same(4, 3, size=32)
    with pytest.raises(DataError, match="the same key"):
        write_pairs(tmp_path / "pairs.csv", make_pairs_of(faces, pairs=2, folds=2), faces)


def test_the_table(tmp_path: Path) -> None:
    labels = labels_of(5, 5, 5, 5)
    made = make_pairs(labels, pairs=4, folds=2)
    columns, rows = made.table(labels)
    assert columns[:5] == ["fold", "people", "genuine", "impostor", "images used"]
    assert [row[:4] for row in rows] == [["0", "2", "4", "4"], ["1", "2", "4", "4"]]
    assert [row[5:] for row in rows] == [["2", "2"]] * 2
    assert made.to_dict(labels)["genuine"] == 8


def test_a_list_that_cannot_be_written(photos: Path) -> None:
    dataset = FolderDataset(photos)
    (photos.parent / "taken.csv").mkdir()
    with pytest.raises(DataError, match="the pair list cannot be written"):
        write_pairs(photos.parent / "taken.csv", make_pairs_of(dataset, pairs=2, folds=2), dataset)

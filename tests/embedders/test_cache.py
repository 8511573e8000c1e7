from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from facedistill.data.subset import Subset
from facedistill.embedders.cache import EmbeddingCache, is_cache, load_cache, make_cache, save_cache
from facedistill.embedders.cache_writer import write_cache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.errors import DataError, ModelFileError, UsageError
from facedistill.preprocessing import Preprocessing

from .made_teachers import Noise, Projection


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_cache(Projection(), Noise(), tmp_path / "cache", batch_size=4)
    return tmp_path / "cache"


def test_a_cache_gives_what_the_teacher_gives(folder: Path) -> None:
    cache, embedded = load_cache(folder), embed_dataset(Projection(), Noise())
    assert embedded.mirrored is not None
    rows = cache.of(Noise())
    for found, expected in zip(rows.all(), (embedded.original, embedded.mirrored), strict=True):
        assert np.allclose(found, expected, rtol=0, atol=5e-4 * np.abs(expected).max())
        norms = np.linalg.norm(expected, axis=1)
        assert np.allclose(np.linalg.norm(found, axis=1), norms, rtol=3e-4)
    assert cache.keys == [f"person/{index}.png" for index in range(23)]
    assert (cache.model, cache.model_fingerprint) == ("projection-0", "0" * 64)
    assert (cache.embedding_size, cache.preprocessing) == (16, Preprocessing(size=8))
    assert (cache.dataset_fingerprint, cache.place) == ("d" * 64, str(folder))


def test_the_files_are_plain_ones(folder: Path) -> None:
    """Anybody can read them with numpy and json."""
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "checksums.npy", "directions.npy", "keys.json", "manifest.json", "norms.npy",
    }  # fmt: skip
    directions, norms = np.load(folder / "directions.npy"), np.load(folder / "norms.npy")
    assert (directions.shape, directions.dtype) == ((23, 2, 16), np.float16)
    assert (norms.shape, norms.dtype) == ((23, 2), np.float32)
    expected = embed_dataset(Projection(), Noise()).original
    assert np.array_equal(norms[:, 0], np.linalg.norm(expected.astype(np.float64), axis=1).astype(np.float32))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["finished"]) == ("facedistill-embeddings", 2, True)
    assert (manifest["images"], manifest["missing"], manifest["dtype"]) == (23, 0, "float16")


def test_rows_stay_in_the_file_until_they_are_looked_up(folder: Path) -> None:
    rows = load_cache(folder).of(Noise())
    base = rows._directions
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base  # type: ignore[assignment]
    assert isinstance(base, np.memmap)


def test_a_part_and_another_format_are_served(folder: Path) -> None:
    cache = load_cache(folder)
    part = Subset(Noise(), np.array([20, 3, 4]))
    assert np.array_equal(cache.of(part).original, cache.original[[20, 3, 4]])
    # The same names and bytes under another fingerprint, as a folder's images have in a .rec.
    assert np.array_equal(cache.of(Noise(fingerprint="e" * 64)).mirrored, cache.mirrored)


def test_other_data_are_refused(folder: Path) -> None:
    cache = load_cache(folder)
    with pytest.raises(ModelFileError, match=r"lacks 7 of 30 images, the first of them 'person/23\.png'.*another data"):
        cache.of(Noise(30, fingerprint="e" * 64))
    with pytest.raises(ModelFileError, match="made of other images of the same names: 23 of 23 compared"):
        cache.of(Noise(seed=1, fingerprint="e" * 64))
    # A folder's fingerprint is of names and sizes, and that of other crops may be the same.
    with pytest.raises(ModelFileError, match="made of other images of the same names: 23 of 23 compared"):
        cache.of(Noise(seed=1))


def test_how_many_images_are_compared(tmp_path: Path) -> None:
    cache = write_cache(Projection(), Noise(1200), tmp_path)
    for dataset, expected in ((Noise(1200), 100), (Noise(1200, fingerprint="e" * 64), 1000)):
        cache.of(dataset)
        assert sum(dataset.read) == expected


def test_an_image_that_was_mended_is_told_from_another_one(tmp_path: Path) -> None:
    """It has no embedding that could be a wrong one."""
    cache = write_cache(Projection(), Noise(corrupt=(5,)), tmp_path, on_corrupt=lambda key, error: None)
    for dataset in (Noise(), Noise(fingerprint="e" * 64)):
        rows = cache.of(dataset)
        with pytest.raises(DataError, match=r"'person/5\.png'.*facedistill embed --overwrite"):
            rows.lookup(np.array([5]), np.zeros(1, bool))


def test_another_teacher_size_or_preprocessing_is_refused(folder: Path) -> None:
    cache = load_cache(folder)
    cache.check_teacher(Projection())
    with pytest.raises(
        ModelFileError, match=r"of another teacher: projection-0 \(weights 0{12}\), and this one is proj"
    ):
        cache.check_teacher(Projection(seed=1))
    with pytest.raises(ModelFileError, match="of embeddings of 16 dimensions, and this teacher's have 8"):
        cache.check_teacher(Projection(dimensions=8))
    with pytest.raises(ModelFileError, match=r"another preprocessing: 8x8 RGB, .*, and now it is 8x8 BGR"):
        cache.check_teacher(Projection(color="bgr"))


def test_missing_images_are_marked_and_damaged_rows_refused(tmp_path: Path) -> None:
    corrupt: list[str] = []
    cache = write_cache(Projection(), Noise(corrupt=(5,)), tmp_path, on_corrupt=lambda key, error: corrupt.append(key))
    assert corrupt == ["person/5.png"]
    assert cache.manifest.missing == 1
    rows = cache.of(Noise(corrupt=(5,)))
    assert np.flatnonzero(~rows.present).tolist() == [5]
    with pytest.raises(DataError, match=r"no embedding of 'person/5\.png': it was corrupt then"):
        rows.lookup(np.array([4, 5]), np.zeros(2, bool))
    for value, message in ((0.0, "has the norm 0"), (np.inf, "is damaged: .* is not finite")):
        norms = np.load(tmp_path / "norms.npy")
        norms[9, 1] = value
        np.save(tmp_path / "norms.npy", norms)
        damaged = load_cache(tmp_path)
        with pytest.raises(ModelFileError, match=rf"person/9\.png' {message}|{message}"):
            damaged.of(Noise(corrupt=(5,)))
        damaged.of(Subset(Noise(corrupt=(5,)), np.array([8, 10])))


def test_a_teacher_that_gives_zeros_is_told_of(tmp_path: Path) -> None:
    class Dead(Projection):
        def embed(self, images: np.ndarray) -> np.ndarray:
            return super().embed(images) * (np.arange(len(images)) != 2)[:, None]

    notes: list[str] = []
    cache = write_cache(Dead(), Noise(), tmp_path, note=notes.append)
    assert [note[:66] for note in notes] == ["1 image has an embedding of norm 0, such as 'person/2.png'; no stu"]
    with pytest.raises(ModelFileError, match=r"embedding of 'person/2\.png' has the norm 0, and so no direction"):
        cache.of(Noise())


SIZES: dict[str, object] = {"size": 8, "color": "rgb", "mean": 127.5, "std": 127.5, "layout": "nchw"}


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def longer(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"more")


def stated(**values: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | values))

    return write


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut("directions.npy", 500), "is damaged: directions.npy cannot be read"),
        (cut("directions.npy", 20), "is damaged: directions.npy cannot be read"),
        (longer("directions.npy"), r"is damaged: directions.npy cannot be read \(it is 4 bytes too long"),
        (without("norms.npy"), "is damaged: norms.npy cannot be read"),
        (cut("checksums.npy", 0), "is damaged: checksums.npy cannot be read"),
        (without("keys.json"), "is damaged: it has no keys.json"),
        (without("manifest.json"), "was only begun: not one image is in it. Run facedistill embed again"),
        (cut("manifest.json", 30), "is damaged: its manifest.json cannot be read"),
        (stated(version=3), "is of version 3, and this facedistill reads version 2. Update facedistill"),
        (stated(images=24), r"directions.npy cannot be read \(it holds \(23, 2, 16\) float16, not \(24, 2, 16\)"),
        (stated(embedding_size="x"), "its manifest.json cannot be read"),
        (stated(images=0), r"its manifest.json cannot be read \(its sizes make no sense"),
        (stated(preprocessing={}), "its preprocessing cannot be read"),
        (stated(preprocessing=SIZES | {"size": float("inf")}), "its preprocessing cannot be read"),
        (stated(preprocessing=SIZES | {"std": float("nan")}), "its preprocessing cannot be read"),
        (stated(preprocessing=SIZES | {"mean": float("inf")}), "its preprocessing cannot be read"),
        *(
            (stated(finished=finished, **{name: value}), f"its manifest.json cannot be read .*{shown} is no number")
            for finished in (False, True)
            for name, value, shown in (
                ("images", float("inf"), "inf"),
                ("images", float("nan"), "nan"),
                ("images", 2**40 + 1, "1099511627777"),
                ("images", -23, "-23"),
                ("images", True, "True"),
                ("block", 1e30, r"1e\+30"),
                ("block", 4.0, r"4\.0"),
                ("embedding_size", 10**30, "10+"),
                ("missing", "x", "x"),
            )
        ),
        (stated(finished=False, images=2**40, block=1), "is damaged: done.npy cannot be read"),
        (stated(finished=False, images=2**40, block=2**40), "is damaged: done.npy cannot be read"),
    ],
)
def test_damage(folder: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(folder)
    assert is_cache(folder)
    with pytest.raises(ModelFileError, match=message):
        load_cache(folder)


def test_damaged_keys_are_found_when_they_are_needed(folder: Path) -> None:
    (folder / "keys.json").write_text('["a"]')
    cache = load_cache(folder)
    assert len(cache.of(Noise())) == 23
    with pytest.raises(ModelFileError, match=r"its keys.json cannot be read \(1 names, and there are 23 images"):
        cache.of(Noise(fingerprint="e" * 64))


def test_the_first_version(tmp_path: Path) -> None:
    old = tmp_path / "c.safetensors"
    save_file({"original": np.zeros((1, 2), np.float32)}, old, metadata={"format": "facedistill-embeddings"})
    assert is_cache(old)
    with pytest.raises(
        ModelFileError, match=r"made by an earlier version of facedistill\. Make it again with facedist"
    ):
        load_cache(old)


def test_what_is_no_cache(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "weights.safetensors")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"format": "of something else"}')
    for name in ("weights.safetensors", "other", "none", "."):
        assert not is_cache(tmp_path / name)
        with pytest.raises(
            ModelFileError, match=r"there is no cache of embeddings here\. Make one with facedistill emb"
        ):
            load_cache(tmp_path / name)


def test_a_cache_in_memory_and_back(tmp_path: Path) -> None:
    dataset = Noise(corrupt=(5,))
    embedded = embed_dataset(Projection(), dataset, on_corrupt=lambda key, error: None)
    cache = make_cache(Projection(), dataset, embedded)
    assert np.allclose(cache.of(dataset).original, embedded.original, rtol=1e-6, equal_nan=True)
    save_cache(tmp_path / "saved", cache)
    write_cache(Projection(), dataset, tmp_path / "written", on_corrupt=lambda key, error: None)
    for name in ("directions.npy", "norms.npy"):
        saved, written = (np.load(tmp_path / folder / name) for folder in ("saved", "written"))
        assert saved.dtype == written.dtype
        assert np.allclose(saved, written, rtol=1e-3, equal_nan=True)
    for name in ("keys.json", "checksums.npy", "manifest.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "written" / name).read_bytes(), name


def test_a_cache_is_not_saved_over_something_else(tmp_path: Path) -> None:
    cache = make_cache(Projection(), Noise(), embed_dataset(Projection(), Noise()))
    (tmp_path / "keys.json").write_text("mine")
    with pytest.raises(UsageError, match=r"something else than a cache, 'keys\.json'"):
        save_cache(tmp_path, cache)
    assert (tmp_path / "keys.json").read_text() == "mine"


def test_checksums_that_are_not_known() -> None:
    rows = np.eye(23, dtype=np.float32)
    keys, sums = [f"person/{index}.png" for index in range(23)], np.zeros(23, np.uint32)
    cache = EmbeddingCache.in_memory(keys, rows, rows, "m", "", Preprocessing(), "d" * 64, sums)
    assert np.array_equal(cache.of(Noise()).original, rows)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    keys = ["a\udcff.png", 'b"\n.png']
    rows = np.eye(2, dtype=np.float32)
    save_cache(
        tmp_path, EmbeddingCache.in_memory(keys, rows, rows, "m", "", Preprocessing(), "", np.zeros(2, np.uint32))
    )
    assert load_cache(tmp_path).keys == keys

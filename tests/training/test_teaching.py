"""How a teacher reaches the student: looked up, kept, live, by its own head, several at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from facedistill.data.folder import FolderDataset
from facedistill.data.subset import Subset
from facedistill.distill.centres import class_centres
from facedistill.embedders.cache import load_cache, make_cache, save_cache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.load import load_embedder
from facedistill.embedders.load_teacher import load_teacher
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.errors import DataError, ModelFileError, TrainingError, UsageError
from facedistill.models import build_backbone
from facedistill.preprocessing import Preprocessing
from facedistill.training.distill import distill, prepare_distillation
from facedistill.training.listeners import Listeners
from facedistill.training.run_folder import RunFolder
from facedistill.training.teacher_rows import centres_of_teacher, learned_centres, teacher_rows
from facedistill.training.teaching import LiveTeaching
from facedistill.training.train_teacher import train_teacher

from .conftest import distill_options, same_weights, teacher_options, without_final_look
from .test_resume import KilledError, kill_at


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "run"
    train_teacher(FolderDataset(faces), RunFolder(out), teacher_options(epochs=2, embedding_size=24))
    return out


@pytest.fixture
def teacher(run: Path) -> TorchEmbedder:
    model = load_embedder(run, device="cpu")
    assert isinstance(model, TorchEmbedder)
    return model


def views_of(dataset: FolderDataset, size: int = 64) -> torch.Tensor:
    preprocessing = Preprocessing(size=size)
    return torch.from_numpy(np.concatenate([preprocessing.resize(dataset.image(i)[None]) for i in range(6)]))


def test_a_live_teacher_says_what_it_would_say_of_the_views(teacher: TorchEmbedder, dataset: FolderDataset) -> None:
    views = views_of(dataset)
    nobody = np.zeros(6, dtype=np.int64)
    lesson = LiveTeaching(teacher).lesson(nobody, nobody > 0, views)
    np.testing.assert_allclose(lesson.embeddings.numpy(), teacher.embed(views.numpy()), atol=1e-5)
    assert lesson.features is None
    assert not lesson.embeddings.requires_grad


def test_a_live_teacher_of_another_size_resizes_the_views(teacher: TorchEmbedder, dataset: FolderDataset) -> None:
    nobody = np.zeros(6, dtype=np.int64)
    lesson = LiveTeaching(teacher).lesson(nobody, nobody > 0, views_of(dataset, 96))
    expected = teacher.embed(views_of(dataset, 96).numpy())
    cosines = torch.nn.functional.cosine_similarity(lesson.embeddings, torch.from_numpy(expected))
    assert cosines.min() > 0.99


def test_a_live_teacher_with_features(teacher: TorchEmbedder, dataset: FolderDataset) -> None:
    nobody = np.zeros(6, dtype=np.int64)
    lesson = LiveTeaching(teacher, features=True).lesson(nobody, nobody > 0, views_of(dataset))
    assert lesson.features is not None
    assert lesson.features.dim() == 4
    assert lesson.images is not None
    assert lesson.images.shape == (6, 3, 64, 64)


def test_a_teacher_of_arrays_is_asked_live_too(dataset: FolderDataset) -> None:
    class Sum:
        name, embedding_size, fingerprint, preprocessing = "sum", 3, "", Preprocessing(size=64)

        def embed(self, images: np.ndarray) -> np.ndarray:
            return images.astype(np.float32).sum(axis=(1, 2)) * self.factor

        factor = 1.0

    teacher, views, nobody = Sum(), views_of(dataset), np.zeros(6, dtype=np.int64)
    lesson = LiveTeaching(teacher).lesson(nobody, nobody > 0, views)
    torch.testing.assert_close(lesson.embeddings, views.float().sum(dim=(1, 2)))
    teacher.factor = float("nan")
    with pytest.raises(TrainingError, match="the teacher sum gives embeddings that are not finite"):
        LiveTeaching(teacher).lesson(nobody, nobody > 0, views)


def test_live_and_looked_up_are_the_same_without_augmentation(
    teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path
) -> None:
    """What the student learns differs by rounding alone, since both know of mirroring."""
    records = {}
    for cache in ("once", "off"):
        options = distill_options(method="cosine", cache=cache, epochs=1, lr=0.01)
        records[cache] = distill(dataset, teacher, RunFolder(tmp_path / cache), options)[-1]
    assert records["once"]["cosine"] == pytest.approx(records["off"]["cosine"], abs=1e-4)


def test_a_note_where_augmentation_is_unseen_by_the_teacher(
    teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path
) -> None:
    for cache, expected in (("once", 1), ("off", 0)):
        notes: list[str] = []
        options = distill_options(method="cosine", cache=cache, epochs=1, augment_occlusion=0.5)
        distill(dataset, teacher, RunFolder(tmp_path / cache), options, listeners=Listeners(note=notes.append))
        assert sum("--cache off lets it see" in note for note in notes) == expected


def test_a_kept_cache_is_made_once_and_teaches_the_same(
    teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    notes: list[str] = []
    options = distill_options(method="cosine", cache="auto", epochs=1)
    for name in ("a", "b"):
        distill(dataset, teacher, RunFolder(tmp_path / name), options, listeners=Listeners(note=notes.append))
        monkeypatch.setattr(TorchEmbedder, "embed", None)  # the second run has to do without
    assert len(list((tmp_path / "kept" / "facedistill").iterdir())) == 1
    assert same_weights(tmp_path / "a", tmp_path / "b")
    assert [note for note in without_final_look(notes) if "embeddings are kept in" in note]


def test_a_cache_in_a_folder_of_ones_own(
    teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = distill_options(method="cosine", cache=str(tmp_path / "kept"), epochs=1)
    distill(dataset, teacher, RunFolder(tmp_path / "a"), options)
    part = Subset(dataset, np.arange(24))
    other = TorchEmbedder(
        teacher.backbone, Preprocessing(size=64, std=128.0), 24, name="other", device=teacher.device, fingerprint="f"
    )
    with monkeypatch.context() as patch:
        patch.setattr(TorchEmbedder, "embed", None)
        distill(part, teacher, RunFolder(tmp_path / "b"), options)
        with pytest.raises(ModelFileError, match="the cache is"):
            distill(dataset, other, RunFolder(tmp_path / "c"), options)
    assert not (tmp_path / "c").exists()
    with pytest.raises(UsageError, match="nothing is left to keep"):
        distill(dataset, load_cache(tmp_path / "kept"), RunFolder(tmp_path / "c"), options)
    with pytest.raises(ValueError, match=r"use once, auto, off or a folder such as \./atuo"):
        distill_options(cache="atuo")


def test_a_cache_cannot_teach_live(teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path) -> None:
    cache = make_cache(teacher, dataset, embed_dataset(teacher, dataset))
    with pytest.raises(UsageError, match="a cache of embeddings cannot look at the student's views"):
        distill(dataset, cache, RunFolder(tmp_path / "run"), distill_options(cache="off"))
    options = distill_options(method="cosine", plus=("cross-architecture",))
    with pytest.raises(UsageError, match="needs the teacher's feature maps, and a cache of embeddings has none"):
        distill(dataset, cache, RunFolder(tmp_path / "run"), options)
    with pytest.raises(UsageError, match="feature maps alone do not teach the student its embedding"):
        distill(dataset, teacher, RunFolder(tmp_path / "run"), distill_options(method="cross-architecture"))
    assert not (tmp_path / "run").exists()


def test_feature_maps_teach_together_with_embeddings(
    teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path
) -> None:
    notes: list[str] = []
    options = distill_options(method="cosine", plus=("cross-architecture:0.1",), set=("queries=4", "width=8"), epochs=1)
    listeners = Listeners(note=notes.append)
    records = distill(dataset, teacher, RunFolder(tmp_path / "run"), options, listeners=listeners)
    assert {"cosine_loss", "cross_architecture_loss", "cosine"} <= set(records[0])
    assert "feature maps are in no cache; the teacher looks at every view of the student's" in notes


def test_the_teachers_own_head_gives_the_centres(
    run: Path, teacher: TorchEmbedder, dataset: FolderDataset, faces: Path
) -> None:
    rows = teacher_rows(teacher, dataset, distill_options(), note=None, progress=None)
    notes: list[str] = []
    learned = centres_of_teacher(rows, dataset, learned_centres(run, dataset, 24), note=notes.append)
    state = torch.load(run / "last" / "state.pt", weights_only=True)["objective"]["head.centres"]
    torch.testing.assert_close(learned, torch.nn.functional.normalize(state))
    means = centres_of_teacher(rows, dataset, None, note=notes.append)
    torch.testing.assert_close(means, class_centres(rows, dataset.labels, dataset.identities))
    assert notes == [
        "the class centres are those of the teacher's own head",
        "the teacher has no head for these identities; its mean embedding of each person, normalised, serves as the "
        "person's class centre",
    ]
    assert learned_centres(run, dataset, 99) is None


def test_a_head_for_other_people_is_not_taken(run: Path, tmp_path: Path) -> None:
    from facedistill.data.synthetic import SyntheticFaces, write_folder

    write_folder(SyntheticFaces(8, 6, size=64, first_identity=50), tmp_path / "others")
    assert learned_centres(run, FolderDataset(tmp_path / "others"), 24) is None


def test_several_teachers(run: Path, dataset: FolderDataset, tmp_path: Path) -> None:
    both = load_teacher([run, run], weights=[1, 3], device="cpu")
    assert both is not None
    assert both.embedding_size == 48
    records = distill(dataset, both, RunFolder(tmp_path / "run"), distill_options(method="cosine", epochs=1))
    assert np.isfinite(records[0]["loss"])
    one = load_teacher([run], device="cpu")
    assert isinstance(one, TorchEmbedder)
    for name in ("a", "b"):
        save_cache(tmp_path / name, make_cache(one, dataset, embed_dataset(one, dataset)))
    cached = load_teacher([tmp_path / "a", tmp_path / "b"], combine="mean")
    assert cached is not None
    assert cached.embedding_size == 24
    assert load_teacher([]) is None


def test_teachers_that_do_not_go_together(
    run: Path, teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path
) -> None:
    save_cache(tmp_path / "cache", make_cache(teacher, dataset, embed_dataset(teacher, dataset)))
    with pytest.raises(UsageError, match="models and caches of embeddings cannot teach together"):
        load_teacher([tmp_path / "cache", run])
    with pytest.raises(UsageError, match="there are 2 teachers and 1 weights"):
        load_teacher([run, run], weights=[1.0], device="cpu")
    with pytest.raises(UsageError, match="the weight of a teacher counts beside another's only"):
        load_teacher([run], weights=[1.0], device="cpu")
    with pytest.raises(ModelFileError, match="there is no such model"):
        load_teacher([tmp_path / "missing"], device="cpu")


def test_a_student_goes_on_with_the_classifier_it_was_trained_with(
    run: Path, dataset: FolderDataset, tmp_path: Path
) -> None:
    state = torch.load(run / "last" / "state.pt", weights_only=True)["objective"]["head.centres"]
    notes: list[str] = []
    options = distill_options(student=None, width=None, method="margin-softmax", set=("scale=16", "margin=0.1"))
    listeners = Listeners(note=notes.append)
    training = prepare_distillation(dataset, None, RunFolder(tmp_path / "a"), options, init=run, listeners=listeners)
    torch.testing.assert_close(training.objective.state_dict()["methods.margin-softmax.head.centres"], state)
    assert any("goes on with the classifier of" in note for note in notes)
    weights = run / "last" / "backbone.safetensors"
    training = prepare_distillation(dataset, None, RunFolder(tmp_path / "b"), options, init=weights)
    assert not torch.equal(training.objective.state_dict()["methods.margin-softmax.head.centres"], state)


def test_feature_maps_and_prompts_go_on_after_a_kill(dataset: FolderDataset, tmp_path: Path) -> None:
    """What `killed_runs.py` does for the methods that a cache can teach."""
    torch.manual_seed(0)
    backbone = build_backbone("vit-tiny", embedding_size=24, width=0.25, input_size=32)
    vit = TorchEmbedder(backbone, Preprocessing(size=32), 24, name="vit", device=torch.device("cpu"))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    plus, settings = ("cross-architecture:0.1",), ("queries=4", "width=8", "prompts=2")
    options = distill_options(
        method="cosine", plus=plus, set=settings, cache="off", input_size=32, save_every=2, augment_occlusion=0.5
    )
    distill(dataset, vit, RunFolder(tmp_path / "whole"), options)
    with pytest.raises(KilledError):
        distill(dataset, vit, RunFolder(tmp_path / "killed"), options, listeners=kill_at(3))
    distill(dataset, vit, RunFolder(tmp_path / "killed", resume="yes"), options)
    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    states = [torch.load(tmp_path / run / "last" / "state.pt", weights_only=True) for run in ("whole", "killed")]
    learned = [state["objective"] for state in states]
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[0])
    assert any("prompts" in name for name in learned[0])
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_another_source_of_the_class_centres_is_another_run(
    run: Path, teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path
) -> None:
    options = distill_options(method="adadistill-fixed", epochs=1)
    distill(dataset, teacher, RunFolder(tmp_path / "a"), options, teacher_run=run)
    with pytest.raises(UsageError, match="the class centres the teacher's head and is resumed with the mean"):
        distill(dataset, teacher, RunFolder(tmp_path / "a", resume="yes"), options)


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.yaml", b""), ("config.yaml", b"run: 3"), ("config.yaml", b"[1"), ("last/state.pt", b"PK")],
)
def test_a_damaged_run_of_the_teacher(
    file: str, content: bytes, run: Path, teacher: TorchEmbedder, dataset: FolderDataset, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "damaged")
    (tmp_path / "damaged" / file).write_bytes(content)
    options = distill_options(method="adadistill-fixed", epochs=1)
    with pytest.raises(ModelFileError, match="the run's configuration or saved state cannot be read"):
        distill(dataset, teacher, RunFolder(tmp_path / "a"), options, teacher_run=tmp_path / "damaged")


def test_the_classifier_of_a_distilled_student_goes_on_too(run: Path, dataset: FolderDataset, tmp_path: Path) -> None:
    options = distill_options(student=None, width=None, method="margin-softmax", epochs=1)
    distill(dataset, None, RunFolder(tmp_path / "a"), options, init=run)
    notes: list[str] = []
    listeners = Listeners(note=notes.append)
    prepare_distillation(dataset, None, RunFolder(tmp_path / "b"), options, init=tmp_path / "a", listeners=listeners)
    assert f"the student goes on with the classifier of {tmp_path / 'a'}" in notes


def test_a_live_teacher_that_sees_one_face_only_is_refused(dataset: FolderDataset, tmp_path: Path) -> None:
    class Constant:
        name, embedding_size, fingerprint, preprocessing = "constant", 3, "", Preprocessing(size=64)

        def embed(self, images: np.ndarray) -> np.ndarray:
            return np.ones((len(images), 3), dtype=np.float32)

    with pytest.raises(DataError, match="nearly the same embedding for every face"):
        distill(dataset, Constant(), RunFolder(tmp_path / "a"), distill_options(method="cosine", cache="off"))

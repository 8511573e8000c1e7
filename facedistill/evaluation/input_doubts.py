"""What is wrong with a model's input, seen on a sample: the colour order, or crops that are not aligned.

Neither gives an error, only worse figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facedistill.align.detectors import DETECTORS
from facedistill.data.image_source import ImageSource
from facedistill.embedders.cache import EmbeddingCache
from facedistill.embedders.embed_dataset import embed_dataset
from facedistill.embedders.embedder import Embedder
from facedistill.embedders.load_model import Model
from facedistill.evaluation.descriptors import unit_embeddings
from facedistill.evaluation.metrics import squared_distances
from facedistill.inspection.alignment import check_alignment
from facedistill.preprocessing import Preprocessing

SAMPLED_PAIRS = 200
"""Pairs on which both colour orders are tried, half of them genuine (ours)."""
BETTER = 1.03
"""Separation with the colours swapped, as a multiple of that as it is, from which on they look swapped (ours)."""
SAMPLED_CROPS = 60
"""Crops in which a detector looks for the landmarks (ours)."""


@dataclass(frozen=True)
class SwappedColors:
    """A model that is given the other colour order than it says.

    Args:
        embedder: the model as it is.
    """

    embedder: Embedder

    @property
    def name(self) -> str:
        """The model's own."""
        return self.embedder.name

    @property
    def preprocessing(self) -> Preprocessing:
        """The model's own; the colours are swapped before it."""
        return self.embedder.preprocessing

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.embedder.embedding_size

    @property
    def fingerprint(self) -> str:
        """The model's own."""
        return self.embedder.fingerprint

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, H, W, 3) uint8 RGB -> (N, D) float32 of the images with red and blue exchanged."""
        return self.embedder.embed(np.ascontiguousarray(images[..., ::-1]))


def input_doubts(
    model: Model, images: ImageSource, pairs: npt.NDArray[np.int64], same: npt.NDArray[np.bool_]
) -> tuple[str, ...]:
    """What looks wrong with the input of a benchmark's pairs; colours are looked at where their order was assumed.

    Args:
        model: any; one whose colour order was assumed says so by an attribute `color_assumed` that is True. Of a cache
            nothing can be asked.
        images: what the pairs point into.
        pairs: (P, 2) indices.
        same: (P,) whether the pair is genuine.

    Raises:
        DataError, ModelFileError: as of `embed_dataset`.
    """
    if isinstance(model, EmbeddingCache):
        return ()
    colors = color_warning(model, images, pairs, same) if getattr(model, "color_assumed", False) else []
    return (*colors, *alignment_warning(images, np.unique(pairs)))


def sample_pairs(labels: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(P, 2) some pairs of a labelled data set, genuine and impostor ones, and (P,) which are genuine.

    Args:
        labels: (N,) person of each image, of which two at least have two images.
    """
    random = np.random.default_rng(0)
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    neighbours = np.stack([order[:-1], order[1:]], axis=1)
    genuine = neighbours[labels[neighbours[:, 0]] == labels[neighbours[:, 1]]]
    drawn = random.integers(len(labels), size=(4 * SAMPLED_PAIRS, 2))
    impostor = drawn[labels[drawn[:, 0]] != labels[drawn[:, 1]]]
    some = [random.permutation(kind)[: SAMPLED_PAIRS // 2] for kind in (genuine, impostor)]
    return np.concatenate(some).astype(np.int64), np.repeat([True, False], [len(kind) for kind in some])


def color_warning(
    embedder: Embedder, images: ImageSource, pairs: npt.NDArray[np.int64], same: npt.NDArray[np.bool_]
) -> list[str]:
    """A sentence where a model tells people apart better with red and blue exchanged.

    Args:
        embedder: a model whose colour order was assumed.
        images: what the pairs point into.
        pairs: (P, 2) indices.
        same: (P,) whether the pair is genuine.

    Raises:
        DataError, ModelFileError: as of `embed_dataset`.
    """
    random = np.random.default_rng(0)
    chosen = np.concatenate([random.permutation(np.flatnonzero(kind))[: SAMPLED_PAIRS // 2] for kind in (same, ~same)])
    used, positions = np.unique(pairs[chosen], return_inverse=True)
    found = []
    for model in (embedder, SwappedColors(embedder)):
        embeddings = embed_dataset(model, images, used, mirror=False).original
        distances = squared_distances(unit_embeddings(embeddings), positions.reshape(-1, 2).astype(np.int64))
        found.append(separation(distances, same[chosen]))
    given, swapped = found
    if not swapped > BETTER * given:
        return []
    order = embedder.preprocessing.color
    other = "bgr" if order == "rgb" else "rgb"
    return [
        f"the colour order {order} was assumed, and on {len(chosen)} pairs {other} parts the people better (separation "
        f"{swapped:.2f} instead of {given:.2f}): give --color {other} if the model was trained so"
    ]


def separation(distances: npt.NDArray[np.float64], same: npt.NDArray[np.bool_]) -> float:
    """How many standard deviations (P,) impostor distances lie beyond genuine ones, d'; 0 where all are equal."""
    genuine, impostor = distances[same], distances[~same]
    spread = np.sqrt((np.var(genuine) + np.var(impostor)) / 2)
    return float((np.mean(impostor) - np.mean(genuine)) / spread) if spread > 0 else 0.0


def alignment_warning(images: ImageSource, indices: npt.NDArray[np.int64] | None = None) -> list[str]:
    """A sentence where the faces of a sample of crops do not lie where aligned ones do, as MTCNN sees them."""
    found = check_alignment(images, DETECTORS["mtcnn"](), indices=indices, sample=SAMPLED_CROPS)
    if found.verdict not in ("not aligned", "aligned, but to something else"):
        return []
    where = "scattered away" if found.verdict == "not aligned" else f"all {found.offset:.1f} pixels of 112 away"
    return [
        f"the crops are {found.verdict}: in {found.seen} of {found.sampled} of them, eyes, nose and mouth are {where} "
        "from the ArcFace template; facedistill align makes crops that fit most models"
    ]

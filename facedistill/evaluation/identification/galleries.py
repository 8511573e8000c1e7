"""Identification in a gallery of one's own: people by name, with distractors or without."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from facedistill.counted import counted
from facedistill.data.dataset import FaceDataset
from facedistill.embedders.load_model import Model
from facedistill.errors import DataError
from facedistill.evaluation.descriptors import describe
from facedistill.evaluation.identification.identification import IdentificationResult
from facedistill.evaluation.identification.rates import FPIRS, RANKS, gallery_figures
from facedistill.evaluation.identification.search import NOBODY, search_gallery
from facedistill.evaluation.identification.templates import template_descriptors
from facedistill.shown_name import shown_name

_IMAGES_AT_ONCE = 1 << 16


def evaluate_identification(
    model: Model,
    gallery: FaceDataset,
    probes: FaceDataset,
    distractors: FaceDataset | None = None,
    *,
    name: str,
    one_per_person: bool = False,
    batch_size: int = 64,
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
    progress: Callable[[int, int], None] | None = None,
) -> IdentificationResult:
    """Embed a gallery, probes and distractors with their mirror images, and look every probe up.

    A probe's mates are the gallery's images of the identity of the same name. Probes of people without any are
    non-mated: FPIR is read from them.

    Args:
        model: any model, or a cache that holds all these images.
        gallery: who can be found.
        probes: who is looked for.
        distractors: more entries of the gallery, who are nobody, whatever their identities are called.
        name: what to call it in a table.
        one_per_person: one entry a person, the mean of the unit descriptors of their images; without it each image is
            an entry of its own, as TinyFace and MegaFace have it. A distractor is an entry either way.
        batch_size: images a call of the network.
        ranks: where the rank rate is read.
        fpirs: where TPIR is read.
        progress: called with (images done, images) after each batch.

    Raises:
        DataError: no probe's person is in the gallery, or an image cannot be decoded.
        ModelFileError: an embedding is not finite or has no direction.
    """
    probe_people, notes = _match_people(gallery, probes, name)
    sources = [probes, gallery] if distractors is None else [probes, gallery, distractors]
    descriptors, described = _describe_all(model, sources, batch_size=batch_size, progress=progress)
    entries = descriptors[len(probes) :]
    entry_people = np.full(len(entries), NOBODY, dtype=np.int64)
    entry_people[: len(gallery)] = gallery.labels
    if one_per_person:
        images = np.arange(len(gallery))  # each a medium of its own
        people = template_descriptors(entries[: len(gallery)], gallery.labels, images)
        entry_people = np.concatenate([people.ids, entry_people[len(gallery) :]])
        entries = np.concatenate([people.descriptors.astype(np.float32), entries[len(gallery) :]])
    figures = gallery_figures(
        search_gallery(descriptors[: len(probes)], probe_people, entries, entry_people),
        name="one entry a person" if one_per_person else "one entry an image",
        entries=len(entries),
        people=len(np.unique(gallery.labels)),
        ranks=ranks,
        fpirs=fpirs,
    )
    if distractors is not None:
        notes.append(counted(len(distractors), "entry is a distractor", "entries are distractors"))
    kinds = ("probes", "gallery", "distractors")
    return IdentificationResult(
        name,
        (figures,),
        fingerprints={kind: source.fingerprint for kind, source in zip(kinds, sources, strict=False)},
        warnings=tuple(_equal_images(probes, sources[1:])),
        notes=(*notes, *described),
    )


def _match_people(gallery: FaceDataset, probes: FaceDataset, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    """(P,) the gallery's label of each probe's person, other numbers for the people it lacks; and a line on these."""
    label_of = {identity: label for label, identity in enumerate(gallery.identities)}
    strangers = [identity for identity in probes.identities if identity not in label_of]
    if len(strangers) == len(probes.identities):
        raise DataError(
            f"none of the {len(strangers)} people of the probes is in the gallery",
            place=name,
            next_step=f"People are matched by name; the probes have '{shown_name(strangers[0])}', ..., the gallery "
            f"'{shown_name(gallery.identities[0])}', ...",
        )
    numbers = [label_of.get(identity, len(label_of) + position) for position, identity in enumerate(probes.identities)]
    people = np.array(numbers, dtype=np.int64)[probes.labels]
    if not strangers:
        return people, []
    non_mated = int(np.count_nonzero(people >= len(label_of)))
    are = counted(len(strangers), "of the probes' people is", "of the probes' people are")
    shown = ", ".join(shown_name(identity) for identity in strangers[:3]) + (", ..." if len(strangers) > 3 else "")
    return people, [f"{are} not in the gallery ({shown}): {counted(non_mated, 'probe is', 'probes are')} non-mated"]


def _describe_all(
    model: Model,
    sources: Sequence[FaceDataset],
    *,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """(N, D) float32 unit descriptors of all images, source by source, and notes; a part at a time to save memory."""
    count = sum(map(len, sources))
    descriptors = np.empty((count, model.embedding_size), dtype=np.float32)
    notes: dict[str, None] = {}
    done = 0
    for source in sources:
        for start in range(0, len(source), _IMAGES_AT_ONCE):
            wanted = np.arange(start, min(len(source), start + _IMAGES_AT_ONCE))

            def report(of_these: int, _: int, before: int = done) -> None:
                if progress is not None:
                    progress(before + of_these, count)

            part = describe(model, source, wanted, batch_size=batch_size, progress=report)
            descriptors[done : done + len(wanted)] = part.unit
            notes.update(dict.fromkeys(part.notes))
            done += len(wanted)
    return descriptors, tuple(notes)


def _equal_images(probes: FaceDataset, others: Sequence[FaceDataset]) -> list[str]:
    """A warning where a probe's file is an entry as well: it is found by any model, or lost to a distractor by all."""
    entry_of: dict[bytes, str] = {}
    for source in others:
        for index in range(len(source)):
            entry_of.setdefault(_digest(source, index), source.key(index))
    found = [(probes.key(index), entry_of.get(_digest(probes, index))) for index in range(len(probes))]
    equal = [(key, entry) for key, entry in found if entry is not None]
    if not equal:
        return []
    shown = ", ".join(f"{shown_name(key)} = {shown_name(entry)}" for key, entry in equal[:3])
    are = counted(len(equal), "probe is an entry", "probes are entries")
    return [
        f"{are} of the gallery to the byte ({shown}{', ...' if len(equal) > 3 else ''}): their similarity is 1 "
        "whatever the model is"
    ]


def _digest(source: FaceDataset, index: int) -> bytes:
    return hashlib.blake2b(source.encoded(index), digest_size=16).digest()

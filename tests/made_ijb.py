"""A made IJB folder: little pictures of one colour a person, with landmarks, media, pairs and two galleries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facedistill.align.template import template

COLORS = [(255, 90, 90), (90, 255, 90), (90, 90, 255), (250, 250, 60), (60, 240, 250), (240, 60, 240)]


def make_ijb(root: Path, prefix: str = "ijbc", galleries: tuple[str, str] = ("G1", "G2")) -> Path:
    """Six people: a gallery template of three images in two media, and two probe templates of two images each.

    Gallery templates are 10, 20, ... 60 (people 1 to 3 in the first gallery, 4 to 6 in the second), probe templates
    11, 12, 21, 22, ...; pairs are all of gallery and probe.
    """
    meta, crops = root / "meta", root / "loose_crop"
    meta.mkdir(parents=True)
    crops.mkdir()
    rng = np.random.default_rng(0)
    points = template(32) + 4.0
    media, landmarks, csv = [], [], {name: ["TEMPLATE_ID,SUBJECT_ID,FILENAME"] for name in (*galleries, "probe")}
    for person, color in enumerate(COLORS, 1):
        for tid, mids in ((10 * person, [1, 1, 2]), (10 * person + 1, [3, 4]), (10 * person + 2, [5, 5])):
            for mid in mids:
                name = f"{len(media) + 1}.png"
                image = np.full((40, 40, 3), color, dtype=np.int64) - rng.integers(0, 40, 3)
                cv2.imwrite(str(crops / name), image.clip(0, 255).astype(np.uint8)[..., ::-1])
                moved = " ".join(f"{value:.3f}" for value in (points + rng.normal(0, 0.3, (5, 2))).ravel())
                media.append(f"{name} {tid} {mid}")
                landmarks.append(f"{name} {moved} {rng.uniform(0.6, 1):.4f}")
                gallery = galleries[0] if person <= 3 else galleries[1]
                csv[gallery if tid % 10 == 0 else "probe"].append(f"{tid},{person},img/{name}")
    pairs = [
        f"{10 * one} {10 * other + probe} {int(one == other)}"
        for one in range(1, 7)
        for other in range(1, 7)
        for probe in (1, 2)
    ]
    write = {
        f"{prefix}_face_tid_mid.txt": media,
        f"{prefix}_name_5pts_score.txt": landmarks,
        f"{prefix}_template_pair_label.txt": pairs,
        f"{prefix}_1N_probe_mixed.csv": csv["probe"],
        **{f"{prefix}_1N_gallery_{name}.csv": csv[name] for name in galleries},
    }
    for name, lines in write.items():
        (meta / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root

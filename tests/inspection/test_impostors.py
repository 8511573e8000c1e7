from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from facedistill.inspection.centres import unit
from facedistill.inspection.impostors import FEWEST_IDENTITIES, Impostors, fit_impostors


def test_thresholds_of_a_normal_distribution() -> None:
    """Random directions in D dimensions have cosines of mean 0 and variance 1 / D."""
    some = unit(np.random.default_rng(0).normal(size=(1500, 100)).astype(np.float32))
    found = fit_impostors(some, np.arange(1500), some)
    assert found is not None
    assert (found.mean, found.std) == (pytest.approx(0, abs=0.002), pytest.approx(0.1, abs=0.003))
    cosines = (some @ some.T)[np.triu_indices(1500, 1)]
    assert found.threshold(1e-4) == pytest.approx(float(np.quantile(cosines, 1 - 1e-4)), abs=0.02)
    assert found.compared == 1500 * 1499


def test_people_of_two_labels_do_not_move_it() -> None:
    rng = np.random.default_rng(1)
    some = unit(rng.normal(size=(60, 64)).astype(np.float32))
    clean = fit_impostors(some, np.arange(60), some)
    # Fifteen pairs of labels look alike: 0.8 % of the cosines are close to 1, and so would the 99 % level be.
    some[30:45] = unit(some[:15] + 0.05 * rng.normal(size=(15, 64)).astype(np.float32))
    mixed = fit_impostors(some, np.arange(60), some)
    assert clean is not None
    assert mixed is not None
    assert mixed.std == pytest.approx(clean.std, rel=0.2)


def test_an_image_is_no_impostor_of_its_own_centre() -> None:
    some = np.eye(FEWEST_IDENTITIES, dtype=np.float32)
    found = fit_impostors(some, np.arange(FEWEST_IDENTITIES), some)
    assert found is not None
    assert (found.mean, found.std) == (0, pytest.approx(1e-6))
    assert fit_impostors(some[:-1], np.arange(FEWEST_IDENTITIES - 1), some[:-1]) is None


def test_a_threshold_is_a_cosine() -> None:
    assert Impostors(0.1, 0.2, 1).threshold(1e-3) == pytest.approx(0.1 + 0.2 * NormalDist().inv_cdf(0.999))
    assert Impostors(0.5, 0.2, 1).threshold(1e-6) == 1.0

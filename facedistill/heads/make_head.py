"""A head by its registry name, with all centres in every process or spread over the processes."""

from __future__ import annotations

import math

from facedistill.errors import UsageError
from facedistill.heads.margin import HEADS
from facedistill.heads.margin_head import MarginHead
from facedistill.heads.partial_fc import PartialFC


def make_head(
    name: str,
    embedding_size: int,
    identities: int,
    *,
    scale: float | None = None,
    margin: float | None = None,
    sample_rate: float | None = None,
) -> MarginHead | PartialFC:
    """A freshly initialised head; its first centres are drawn from torch's global generator.

    Args:
        name: as registered.
        embedding_size: D.
        identities: the number of classes of the whole run.
        scale: what cosines are multiplied by, above 0; None for the published value.
        margin: not below 0; None for the published value.
        sample_rate: None for all centres in every process; 1 for centres spread over the processes; less, in (0, 1),
            for as large a share of them in each step (PartialFC).

    Raises:
        UsageError: an unknown name, a value out of range, a margin for a head that has not exactly one, or more
            processes than identities.
    """
    if scale is not None and not (scale > 0 and math.isfinite(scale)):
        raise UsageError(f"the scale of a head is a number above 0, not {scale:g}")
    if margin is not None and not (margin >= 0 and math.isfinite(margin)):
        raise UsageError(f"the margin of a head is a number from 0 upwards, not {margin:g}")
    if sample_rate is not None and not 0 < sample_rate <= 1:
        raise UsageError(f"the sample rate is a share of the classes above 0 and up to 1, not {sample_rate:g}")
    rule = HEADS[name](scale=scale, margin=margin)
    if sample_rate is None:
        return MarginHead(embedding_size, identities, rule)
    return PartialFC(embedding_size, identities, rule, sample_rate=sample_rate)

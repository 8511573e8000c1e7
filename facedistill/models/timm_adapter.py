"""Any model of timm (PyTorch Image Models) as a backbone: `timm:NAME`. Needs the extra `timm`."""

from __future__ import annotations

from difflib import get_close_matches
from types import ModuleType
from typing import Any

import torch
from torch import nn

from facedistill.errors import UsageError
from facedistill.models.registry import BACKBONES
from facedistill.shown_name import shown_name

PREFIX = "timm"


class TimmBackbone(nn.Module):
    """A timm model whose classifier gives the embedding, and a batch norm as the other backbones have it.

    Args:
        net: gives (N, D) for (N, 3, S, S).
        embedding_size: D.
    """

    def __init__(self, net: nn.Module, *, embedding_size: int) -> None:
        super().__init__()
        self.net = net
        self.norm = nn.BatchNorm1d(embedding_size)

    @property
    def feature_layer(self) -> nn.Module:
        """Gives the last map or the tokens, as timm's own description of the net has it."""
        described: Any = self.net.feature_info
        return self.net.get_submodule(described[-1]["module"])

    @property
    def features_end_with_channels(self) -> bool:
        """Whether maps are (N, H, W, C), as those of Swin transformers."""
        return getattr(self.net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float -> (N, D) float embeddings, not normalised."""
        output: torch.Tensor = self.norm(self.net(images))
        return output


@BACKBONES.register_family(PREFIX, summary="any model of timm, untrained", source="timm", embedding_size=512)
def timm_backbone(member: str, *, embedding_size: int, width: float, input_size: int) -> nn.Module:
    """The timm model called `member`, with weights drawn at random: nothing is downloaded.

    Args:
        member: a name that `timm.list_models()` gives, with or without a tag of weights behind a dot.
        embedding_size: D.
        width: must be 1, since timm's models say their width in their names.
        input_size: side of the square input in pixels; models that are built for one size are built for this one.

    Raises:
        UsageError: timm is missing or cannot be imported, it has no such model, the width is not 1, or the model
            cannot take images of this size.
    """
    timm = import_timm()
    # Names such as hf-hub:... would be looked up on the network; they are no models that timm itself has.
    if not timm.is_model(member):
        raise unknown_member(member, timm.list_models())
    if width != 1:
        raise UsageError(
            f"the width multiplier is {width}, but timm's models have one width each",
            next_step="Choose a model of another width by its name",
        )
    try:
        fixed_size = bool(timm.get_pretrained_cfg_value(member, "fixed_input_size"))
        sizes = {"img_size": input_size} if fixed_size else {}
        net = timm.create_model(member, pretrained=False, num_classes=embedding_size, **sizes)
        check_output(net, embedding_size=embedding_size, input_size=input_size)
    except Exception as error:  # what a thousand architectures raise has no common class
        raise UsageError(
            f"timm's '{member}' cannot embed images of {input_size} x {input_size} pixels ({first_line(error)})",
            next_step="Choose another model or input size",
        ) from error
    return TimmBackbone(net, embedding_size=embedding_size)


def import_timm() -> ModuleType:
    """The module timm; UsageError with what to install where it cannot be imported."""
    try:
        import timm
    except ImportError as error:
        raise UsageError(
            f"backbones called {PREFIX}:NAME need the package timm ({first_line(error)})",
            next_step="Install it with: pip install 'facedistill[timm]'",
        ) from error
    except RuntimeError as error:  # torchvision's operators are missing where it was built for another torch
        raise UsageError(
            f"timm cannot be imported ({first_line(error)})",
            next_step="Install the torchvision that belongs to this build of torch",
        ) from error
    module: ModuleType = timm
    return module


def unknown_member(member: str, known: list[str]) -> UsageError:
    """The error for a model that timm does not have, with the nearest one that it has."""
    nearest = get_close_matches(member.partition(".")[0], known, n=1)
    return UsageError(
        f"there is no backbone called '{PREFIX}:{shown_name(member)}'",
        next_step=f"Did you mean '{PREFIX}:{nearest[0]}'?" if nearest else "timm.list_models() names them all",
    )


def check_output(net: nn.Module, *, embedding_size: int, input_size: int) -> None:
    """Raise ValueError, or whatever `net` raises, where it does not embed images of this size."""
    parameter = next(net.parameters())
    images = torch.zeros(1, 3, input_size, input_size, device=parameter.device, dtype=parameter.dtype)
    was_training = net.training
    with torch.no_grad():
        output = net.eval()(images)
    net.train(was_training)
    if not isinstance(output, torch.Tensor) or output.shape != (1, embedding_size):
        raise ValueError("its output is no embedding")


def first_line(error: BaseException) -> str:
    """What an error says, without the pages that some append."""
    return (str(error).splitlines() or [type(error).__name__])[0]

"""What a backbone is trained for: to tell the training identities apart, or to follow a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from facedistill.distill.method import DistillationBatch, Setting
from facedistill.distill.terms import Term
from facedistill.heads import MarginHead, PartialFC
from facedistill.loss import Figure, LossAndFigures
from facedistill.preprocessing import Preprocessing
from facedistill.ranks import gather, ranks
from facedistill.training.guards import Chance


class Classification(nn.Module):
    """Cross-entropy over the training identities through a margin head.

    Attributes:
        whole_batch: whether loss and figures are those of all processes together.
        needs_features: whether feature maps are looked at.
        chance: what a head reaches that knows nothing.
    """

    def __init__(self, head: MarginHead | PartialFC) -> None:
        super().__init__()
        self.head = head
        self.whole_batch = isinstance(head, PartialFC)
        sampled = head.sample_rate if isinstance(head, PartialFC) else 1.0
        self.needs_features = False
        self.chance: Chance | None = Chance(head.loss_at_chance(), 1 / (head.identities * sampled))

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """Embeddings and labels of a batch -> mean cross-entropy, and the share of images given their own class."""
        output: LossAndFigures = self.head(batch.student, batch.labels)
        return output

    def sharded_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of which every process has another part."""
        return self.head.parameters() if isinstance(self.head, PartialFC) else ()

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Let a head that trains some of its centres at a time follow the optimizer's steps."""
        self.head.attach(optimizer)


class Distillation(nn.Module):
    """The weighted sum of distillation terms; see `facedistill.distill`.

    Terms that compare images see those of all processes, the others those of this one, of which their loss is a mean.

    Args:
        terms: the methods, with their weights.
        setting: what they are told of the run.

    Attributes:
        whole_batch: whether loss and figures are those of all processes together.
        needs_features: whether a term looks at feature maps.
    """

    chance: Chance | None = None

    def __init__(self, terms: Sequence[Term], setting: Setting) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self._methods = {term.name: term.build(setting) for term in self.terms}
        # Under a name of its own, since only modules have parameters, buffers and a state.
        self.methods = nn.ModuleDict(
            {name: method for name, method in self._methods.items() if isinstance(method, nn.Module)}
        )
        self.whole_batch = all(term.needs.pairs for term in self.terms)
        self.needs_features = any(term.needs.features for term in self.terms)

    def forward(self, batch: DistillationBatch) -> LossAndFigures:
        """This process's batch -> the sum of the terms' losses, each times its weight, and their figures.

        Where there are several terms, each one's own loss is a figure too.
        """
        whole = batch
        if any(term.needs.pairs for term in self.terms):
            # Features and images are left here: what compares images does not look at them, and they are large.
            whole = DistillationBatch(gather(batch.student), gather(batch.teacher), gather(batch.labels))
            if ranks() == 1:
                whole = whole._replace(largest_identity=batch.largest_identity)
        outputs = {term: self._methods[term.name](whole if term.needs.pairs else batch) for term in self.terms}
        loss = torch.stack([term.weight * output.loss for term, output in outputs.items()]).sum()
        figures: dict[str, Figure] = {}
        for term, output in outputs.items():
            own = output.figures
            if term.needs.pairs and not self.whole_batch:
                # Every process has counted the same; the sum over them is taken later.
                own = {
                    name: figure if figure.weight is not None else Figure(figure.total / ranks(), None)
                    for name, figure in own.items()
                }
            if len(outputs) > 1:
                one = torch.ones((), device=loss.device)
                own = {"loss": Figure(output.loss.detach(), one), **own}
                label = term.name.replace("-", "_")
                own = {f"{label}_{name}" if name == "loss" or name in figures else name: own[name] for name in own}
            figures |= own
        return LossAndFigures(loss, figures)

    def sharded_parameters(self) -> Iterable[nn.Parameter]:
        """None; a method's parameters are the same in all processes."""
        return ()

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Nothing to do."""


Objective = Classification | Distillation


class EmbeddingStep(nn.Module):
    """From uint8 crops to embeddings, in one forward call, so that one wrapper serves precision and devices.

    Args:
        backbone: float (N, 3, S, S) -> float (N, D).
        preprocessing: how crops become the backbone's input.
    """

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocessing = preprocessing

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Crops (B, S, S, 3) uint8 RGB -> embeddings (B, D)."""
        embeddings: torch.Tensor = self.backbone(self.preprocessing.to_tensor(images))
        return embeddings

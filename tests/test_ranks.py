"""What processes tell each other, in two of them and in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill import ranks as module
from facedistill.ranks import (
    gather,
    largest_over_ranks,
    mean_over_ranks,
    of_every,
    of_first,
    own_share,
    rank,
    ranks,
    share_rows,
    sum_over_ranks,
)

from .two_processes import run_in_two_processes

ROWS, SIZE = 3, 2


def tell() -> dict[str, Any]:
    """Everything once; what each process holds follows from its number."""
    told: dict[str, Any] = {"place": (rank(), ranks())}
    rows = (torch.arange(ROWS * SIZE).view(ROWS, SIZE).float() + 100 * rank()).requires_grad_()
    other = torch.zeros(ROWS * ranks(), SIZE, requires_grad=True)
    doubled = 2 * other  # made first, so that its backward comes last, with the very tensor that `gather` is sent
    gathered = gather(rows)
    # Another loss in each process, so that a sum of gradients is no multiple of one of them.
    weights = torch.arange(gathered.numel()).view_as(gathered).float() * (rank() + 1)
    ((gathered + doubled) * weights).sum().backward()
    told |= {
        "gathered": gathered.detach(),
        "gradient": rows.grad,
        "other": other.grad is not None and torch.equal(other.grad, 2 * weights),
    }
    transposed = gather(torch.arange(6).view(2, 3).t() + 10 * rank())
    told |= {"whole numbers": transposed, "without gradient": gather(rows.detach()).requires_grad}
    values = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    told |= {
        "sum": sum_over_ranks(values * (rank() + 1)),
        "largest": largest_over_ranks(values * (rank() + 1)),
        "kept": values.detach().clone(),
    }
    means = [torch.full((2, 2), float(rank())), torch.tensor(3.0 * rank()), torch.empty(0)]
    mean_over_ranks(means)
    mean_over_ranks([])
    told |= {"means": means, "first": of_first({"from": rank()}), "every": of_every(("of", rank()))}
    told["shared"] = {}
    for piece in (1 << 26, 20, 1):  # all at once; two rows at once; one
        module._PIECE = piece
        for count in (0, 1, 2, 5, 8):
            whole = np.arange(count * SIZE, dtype=np.float32).reshape(count, SIZE) + 1
            told["shared"][piece, count] = share_rows(whole[own_share(count)], count)
    module._PIECE = 1 << 26
    told["flat"] = share_rows(np.arange(5, dtype=np.float32)[own_share(5)], 5)
    return told


def require_shared(told: dict[str, Any]) -> None:
    for (_, count), found in told["shared"].items():
        np.testing.assert_array_equal(found, np.arange(count * SIZE, dtype=np.float32).reshape(count, SIZE) + 1)
    np.testing.assert_array_equal(told["flat"], np.arange(5))


def test_one_process_tells_itself() -> None:
    told = tell()
    assert told["place"] == (0, 1)
    rows = torch.arange(6.0).view(3, 2)
    assert torch.equal(told["gathered"], rows)
    assert torch.equal(told["gradient"], rows)
    assert told["other"]
    assert torch.equal(told["whole numbers"], torch.arange(6).view(2, 3).t())
    assert told["sum"].tolist() == told["largest"].tolist() == told["kept"].tolist() == [1, -2]
    assert not told["sum"].requires_grad
    assert [mean.tolist() for mean in told["means"]] == [[[0, 0], [0, 0]], 0, []]
    assert (told["first"], told["every"]) == ({"from": 0}, [("of", 0)])
    require_shared(told)


def test_two_processes_tell_each_other(tmp_path: Path) -> None:
    both = run_in_two_processes(tell, tmp_path=tmp_path)
    for number, told in enumerate(both):
        assert told["place"] == (number, 2)
        rows = torch.arange(6.0).view(3, 2)
        assert torch.equal(told["gathered"], torch.cat([rows, rows + 100]))
        # Weights once from the first process and twice from the second.
        assert torch.equal(told["gradient"], 3 * (rows + 6 * number))
        assert told["other"]
        columns = torch.arange(6).view(2, 3).t()
        assert torch.equal(told["whole numbers"], torch.cat([columns, columns + 10]))
        assert not told["without gradient"]
        assert told["sum"].tolist() == [3, -6]
        assert told["largest"].tolist() == [2, -2]
        assert told["kept"].tolist() == [1, -2]
        assert not told["sum"].requires_grad
        assert [mean.tolist() for mean in told["means"]] == [[[0.5, 0.5], [0.5, 0.5]], 1.5, []]
        assert (told["first"], told["every"]) == ({"from": 0}, [("of", 0), ("of", 1)])
        require_shared(told)

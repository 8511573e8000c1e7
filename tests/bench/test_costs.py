from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from facedistill.bench.costs import model_costs
from facedistill.bench.latency import (
    LEAST_CALLS,
    MOST_CALLS,
    TURN,
    WARM_UP,
    measure_latencies,
    open_for_timing,
)
from facedistill.embedders.torch_embedder import TorchEmbedder
from facedistill.models.complexity import measure_complexity
from facedistill.preprocessing import Preprocessing


class Timed:
    """Lets a clock go on by so many seconds a call, and writes down when it was called."""

    def __init__(self, name: str, seconds: Callable[[int], float], log: list[str], clock: list[float]) -> None:
        self.name, self.seconds, self.log, self.clock = name, seconds, log, clock
        self.preprocessing = Preprocessing(size=8)
        self.embedding_size, self.fingerprint, self.calls = 4, "", 0

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert images.shape == (1, 8, 8, 3)
        assert images.std() > 50, "a constant image may be quicker"
        assert torch.get_num_threads() == 1
        self.clock[0] += self.seconds(self.calls)
        self.calls += 1
        self.log.append(self.name)
        return np.ones((1, 4), dtype=np.float32)


def test_models_take_turns_and_the_first_calls_are_not_counted() -> None:
    log: list[str] = []
    clock = [0.0]
    # Slow while it warms up, and in the first call of each turn, when another model has had the caches.
    slow_at_first = Timed("a", lambda call: 100.0 if call < WARM_UP or (call - WARM_UP) % 6 == 0 else 0.010, log, clock)
    # Nine calls of ten take 20 ms; the tenth takes 50 ms.
    uneven = Timed("b", lambda call: 0.050 if call % 10 == 9 else 0.020, log, clock)
    torch.set_num_threads(2)
    first, second = measure_latencies([slow_at_first, uneven], clock=lambda: clock[0])
    assert torch.get_num_threads() == 2
    assert (WARM_UP, TURN) == (5, 5)
    assert "".join(log[:34]) == "aaaaabbbbb" + "aaaaaabbbbbb" * 2
    assert len(log) == 2 * (WARM_UP + MOST_CALLS // TURN * 6)
    assert first.calls == second.calls == MOST_CALLS
    assert (first.median, first.low, first.high, first.slowest) == pytest.approx((0.010, 0.010, 0.010, 0.010))
    assert second.median == pytest.approx(0.020)
    assert second.high > 0.0199
    assert second.to_dict()["calls"] == MOST_CALLS


def test_a_fast_model_has_as_many_uncounted_calls_as_two_milliseconds_hold() -> None:
    log: list[str] = []
    clock = [0.0]
    models = [Timed("a", lambda call: 0.0005, log, clock), Timed("b", lambda call: 0.010, log, clock)]
    measure_latencies(models, clock=lambda: clock[0], most=TURN)
    assert "".join(log[10:]) == "a" * (4 + 5) + "b" * (1 + 5)


def test_a_model_alone_needs_no_uncounted_calls_after_its_warm_up() -> None:
    log: list[str] = []
    clock = [0.0]
    measure_latencies([Timed("a", lambda call: 0.001, log, clock)], clock=lambda: clock[0], most=12)
    assert len(log) == WARM_UP + 15  # whole turns


@pytest.mark.parametrize(("seconds", "calls"), [(1.0, 15), (0.25, 20)])
def test_slow_models_are_called_less_often(seconds: float, calls: int) -> None:
    assert LEAST_CALLS == 12
    clock = [0.0]
    models = [Timed("a", lambda call: 0.001, [], clock), Timed("b", lambda call: seconds, [], clock)]
    assert [found.calls for found in measure_latencies(models, seconds=4.9, clock=lambda: clock[0])] == [calls] * 2


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.convolution(images)
        return maps.mean(dim=(2, 3))


def test_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(1234))
    embedder = TorchEmbedder(Small(), Preprocessing(size=9), 4, name="small", device=torch.device("cpu"))
    found = model_costs(path, embedder)
    assert (found.parameters, found.multiply_adds) == (3 * 4 * 9 + 4, 4 * 4 * 4 * 27)
    assert measure_complexity(Small(), input_size=9).multiply_adds == found.multiply_adds
    assert (found.file_bytes, found.latency) == (1234, None)
    assert found.to_dict()["latency"] is None


def test_an_onnx_file(tmp_path: Path, make_onnx: Callable[..., Path]) -> None:
    path = make_onnx(tmp_path / "small.onnx")
    embedder = open_for_timing(path)
    found = model_costs(path, embedder, measure_latencies([embedder])[0])
    assert (found.parameters, found.multiply_adds, found.file_bytes) == (768, 768, path.stat().st_size)
    assert found.latency is not None
    assert 0 < found.latency.low <= found.latency.median <= found.latency.high < 1


def test_weights_beside_an_onnx_file_count_for_its_size(tmp_path: Path, make_onnx: Callable[..., Path]) -> None:
    path = make_onnx(
        tmp_path / "small.onnx", save_as_external_data=True, all_tensors_to_one_file=True, location="w.data",
        size_threshold=0,
    )  # fmt: skip
    assert path.stat().st_size < 768 * 4
    found = model_costs(path, open_for_timing(path))
    assert found.file_bytes == path.stat().st_size + (tmp_path / "w.data").stat().st_size
    assert found.parameters == 768

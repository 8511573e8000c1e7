"""PartialFC in one process; test_two_processes.py has it in two, test_sampled_centres.py its sampling."""

from __future__ import annotations

import pytest
import torch

from facedistill.errors import UsageError
from facedistill.heads import HEADS, PartialFC, make_head, partial_fc
from facedistill.heads.partial_fc import draw_centres, shard_bounds

NAMES = [entry.name for entry in HEADS]
CLASSES, SIZE, IMAGES = 11, 6, 8


def made_batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(IMAGES, SIZE) * torch.linspace(2, 20, IMAGES)[:, None], torch.randint(0, CLASSES, (IMAGES,))


def made_partial_fc(name: str, rate: float, classes: int = CLASSES) -> PartialFC:
    torch.manual_seed(0)
    head = make_head(name, SIZE, classes, sample_rate=rate)
    assert isinstance(head, PartialFC)
    return head


@pytest.mark.parametrize("name", NAMES)
def test_rate_1_equals_the_full_head(name: str) -> None:
    partial = made_partial_fc(name, 1.0)
    torch.manual_seed(0)
    full = make_head(name, SIZE, CLASSES)
    assert torch.equal(partial.centres, full.centres)
    for _ in range(2):  # statistics too
        embeddings, labels = made_batch()
        others = embeddings.clone().requires_grad_()
        embeddings.requires_grad_()
        output, expected = partial(embeddings, labels), full(others, labels)
        output.loss.backward()
        expected.loss.backward()
        torch.testing.assert_close(output.loss, expected.loss)
        torch.testing.assert_close(embeddings.grad, others.grad, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(partial.centres.grad, full.centres.grad, atol=1e-4, rtol=1e-6)
        assert output.figures.keys() == expected.figures.keys()
        for figure, figure_of_full in zip(output.figures.values(), expected.figures.values(), strict=True):
            torch.testing.assert_close(figure, figure_of_full)
    assert partial.loss_at_chance() == full.loss_at_chance()


@pytest.mark.parametrize("name", NAMES)
def test_a_sampled_loss_is_that_of_a_head_with_the_sampled_classes_only(name: str) -> None:
    head = made_partial_fc(name, 0.8)
    assert head.sampling is not None
    embeddings, labels = made_batch()
    embeddings.requires_grad_()
    output = head(embeddings, labels)
    output.loss.backward()
    chosen = head.sampling._rows
    assert len(chosen) == 9
    full = make_head(name, SIZE, len(chosen))
    with torch.no_grad():
        full.centres.copy_(head.sampling.centres[chosen].view(-1, SIZE))
    others = embeddings.detach().clone().requires_grad_()
    column = (chosen[None, :] == labels[:, None]).long().argmax(1)
    expected = full(others, column)
    expected.loss.backward()
    torch.testing.assert_close(output.loss, expected.loss)
    torch.testing.assert_close(embeddings.grad, others.grad, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(head.sampling.sampled.grad.view(-1, SIZE), full.centres.grad, atol=1e-4, rtol=1e-6)
    assert [int(value) for value in output.figures["train_accuracy"]] == [
        int(value) for value in expected.figures["train_accuracy"]
    ]
    assert head.loss_at_chance() == pytest.approx(full.loss_at_chance())


def test_half_precision_embeddings_give_the_float32_loss() -> None:
    embeddings, labels = made_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = made_partial_fc("arcface", 1.0)(embeddings.bfloat16(), labels).loss
    expected = made_partial_fc("arcface", 1.0)(embeddings.bfloat16().float(), labels).loss
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == float(expected.detach())


def test_out_of_training_all_classes_take_part() -> None:
    embeddings, labels = made_batch()
    sampled, whole = made_partial_fc("arcface", 0.2).eval(), made_partial_fc("arcface", 1.0).eval()
    torch.testing.assert_close(sampled(embeddings, labels).loss, whole(embeddings, labels).loss)
    assert sampled.loss_at_chance() == whole.loss_at_chance()


def test_equal_cosines_are_no_hits() -> None:
    """A backbone that gives zeros must not look perfect."""
    head = made_partial_fc("arcface", 1.0)
    total, _ = head(torch.zeros(4, SIZE), torch.tensor([0, 1, 2, 3])).figures["train_accuracy"]
    assert int(total) == 0


def test_shards_are_contiguous_and_even() -> None:
    assert [shard_bounds(11, number, 3) for number in range(3)] == [(0, 4), (4, 8), (8, 11)]
    assert shard_bounds(5, 0, 1) == (0, 5)


@pytest.mark.parametrize("count", [40, 41])
def test_shards_are_parts_of_the_table_that_one_process_draws(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_fc, "_PIECE", 16)
    states, shards = [], []
    for number in range(3):
        torch.manual_seed(5)
        shards.append(draw_centres(count, 16, *shard_bounds(count, number, 3)))
        states.append(torch.get_rng_state())
    torch.manual_seed(5)
    assert torch.equal(torch.cat(shards), draw_centres(count, 16, 0, count))
    assert all(torch.equal(state, torch.get_rng_state()) for state in states)


def test_fewer_classes_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_fc, "ranks", lambda: 3)
    with pytest.raises(UsageError, match="2 identities cannot be shared among 3 processes"):
        make_head("arcface", 4, 2, sample_rate=1.0)


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_heads_can_be_made_without_memory(rate: float) -> None:
    with torch.device("meta"):
        head = make_head("subcentre-arcface", 512, 10_000_000, sample_rate=rate)
    assert all(tensor.is_meta for tensor in head.state_dict().values())


@pytest.mark.cuda
@pytest.mark.parametrize("rate", [None, 0.3, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_on_a_gpu_never_waits_for_it_and_gives_what_the_cpu_gives(name: str, rate: float | None) -> None:
    losses = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        # As many images as classes, so that all classes take part, whatever the device's random numbers.
        head = make_head(name, SIZE, IMAGES, sample_rate=rate).to(device)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
        head.attach(optimizer)
        embeddings, labels = made_batch()
        embeddings, labels = embeddings.to(device), labels.to(device) % IMAGES
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error" if device == "cuda" else mode)
        try:
            for _ in range(3):
                output = head(embeddings, labels)
                output.loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
        losses[device] = output.loss.item()
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-4)

"""Muon for hidden matrices and AdamW for the rest, as one optimizer, against each alone and by closed form."""

import pytest
import torch
from torch import nn

from protgen.training.optimizers import HIDDEN, hidden_matrices, make_optimizer, set_rate
from protgen.training.settings import TrainSettings

BETAS = (0.9, 0.999)


def network() -> nn.Sequential:
    """A narrow input, a hidden layer, a narrow output."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, HIDDEN), nn.Linear(HIDDEN, 2 * HIDDEN), nn.Linear(2 * HIDDEN, 3))


def loss(module: nn.Module) -> torch.Tensor:
    x = torch.randn(16, 7, generator=torch.Generator().manual_seed(1))
    return module(x).square().sum()


def step_of(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss(module).backward()
    optimizer.step()


def test_without_its_rate_all_weights_are_adamws():
    """In every bit those of torch's AdamW with decay on matrices alone."""
    ours, theirs = network(), network()
    settings = TrainSettings(lr=1e-2, weight_decay=0.1)
    optimizer = make_optimizer(ours, settings, BETAS)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=BETAS, fused=True)
    for _ in range(3):
        step_of(ours, optimizer)
        step_of(theirs, reference)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_muon_takes_hidden_matrices_alone_and_moves_them_by_its_rate():
    """The first update of a matrix has nearly equal singular values, of root mean square 0.2 times the rate."""
    module = network()
    assert [tuple(p.shape) for p in hidden_matrices(module)] == [(2 * HIDDEN, HIDDEN)]
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizer = make_optimizer(module, TrainSettings(lr=1e-3, muon_lr=3e-3, weight_decay=0.0), BETAS)
    assert [group["scale"] for group in optimizer.param_groups] == [pytest.approx(3.0), 1.0, 1.0]
    step_of(module, optimizer)
    moved = {name: p.detach() - before[name] for name, p in module.named_parameters()}
    # The gradient of a batch of 16 has rank 16, or 7, that of the input; each singular value becomes one, within 30 %.
    values = torch.linalg.svdvals(moved["1.weight"])[:3] / (3e-3 * 0.2 * (2 * HIDDEN) ** 0.5)
    assert ((values > 0.65) & (values < 1.35)).all(), values
    alone = network()
    reference = torch.optim.Muon([alone[1].weight], lr=3e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    step_of(alone, reference)
    assert torch.equal(alone[1].weight, module[1].weight)
    # AdamW's first step is its rate for every weight.
    assert moved["0.weight"].abs().median() == pytest.approx(1e-3, rel=1e-3)
    assert len(optimizer.state) == 6


def test_the_rate_of_muon_keeps_its_ratio():
    module = network()
    optimizer = make_optimizer(module, TrainSettings(lr=1e-3, muon_lr=3e-3), BETAS)
    set_rate(optimizer, 2e-4)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(6e-4), 2e-4, 2e-4]
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == [pytest.approx(6e-4), 2e-4, 2e-4]


def test_its_state_is_that_of_both_and_can_be_put_back():
    """A checkpoint keeps `state` by parameter; with it a new optimizer goes on to the same bits."""
    settings = TrainSettings(lr=1e-3, muon_lr=3e-3)
    whole, again = network(), network()
    optimizer = make_optimizer(whole, settings, BETAS)
    step_of(whole, optimizer)
    step_of(whole, optimizer)
    again.load_state_dict(whole.state_dict())
    resumed = make_optimizer(again, settings, BETAS)
    for p, q in zip(whole.parameters(), again.parameters(), strict=True):
        resumed.state[q] = {key: value.clone() for key, value in optimizer.state[p].items()}
    for module, each in ((whole, optimizer), (again, resumed)):
        step_of(module, each)
        step_of(module, each)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)

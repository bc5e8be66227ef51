"""Early rejection: the law of what is left, samples that do not see one another, and crossovers of designs."""

import math

import numpy as np
import pytest
import torch

from protgen.conditions.length import Length
from protgen.conditions.secondary_structure import SecondaryStructure
from protgen.conditions.strand_pairing import StrandPairing
from protgen.errors import UsageError
from protgen.generation import hands
from protgen.generation.design import SampleSettings
from protgen.generation.generate import generate
from protgen.generation.hands import left_handed, strands_and_pairs
from protgen.models.model import build_model
from protgen.samplers.euler import Euler
from protgen.samplers.redraw import Redraw, least_faults
from protgen.samplers.sde import SDE
from protgen.structure.sheets import strands_of
from protgen.types import State
from tests.exact_denoisers import LINE, MEAN, STD, ExactGaussian, task


def above(prediction: State) -> torch.Tensor:
    """A fault where the first coordinate is above the mean of the data."""
    return (prediction["x"][:, 0, 0] > MEAN).float()


@pytest.mark.parametrize("times", [(0.8,), (0.9, 0.5)])
def test_what_is_left_has_the_law_without_faults(times):
    """The flow of a normal keeps the order of predictions, so half of it is left: mean and std of a half-normal.

    4,000 samples: standard errors 0.005 and 0.004. The other coordinate is as before.
    """
    own = task(4000, redraw=Redraw(above, times, tries=40))
    x = Euler(steps=100).sample(ExactGaussian(), LINE, own)["x"][:, 0].numpy()
    assert (x[:, 0] <= MEAN).all()
    assert x[:, 0].mean() == pytest.approx(MEAN - STD * math.sqrt(2 / math.pi), abs=0.02)
    assert x[:, 0].std() == pytest.approx(STD * math.sqrt(1 - 2 / math.pi), abs=0.015)
    assert x[:, 1].mean() == pytest.approx(MEAN, abs=0.03)
    assert x[:, 1].std() == pytest.approx(STD, abs=0.02)


@pytest.mark.parametrize("sampler", [Euler(steps=10), SDE(steps=10)])
def test_a_sample_begins_anew_by_itself(sampler):
    """Row i of a batch is the sample alone, to the bit; one without a fault is what it is without redraws."""
    redraw = Redraw(above, tries=40)
    batch = sampler.sample(ExactGaussian(), LINE, task(12, redraw=redraw))["x"]
    plain = sampler.sample(ExactGaussian(), LINE, task(12))["x"]
    kept = 0
    for row in range(12):
        alone = task(12)
        alone = task(1, generators=[alone.generators[row]], redraw=redraw)
        assert torch.equal(sampler.sample(ExactGaussian(), LINE, alone)["x"][0], batch[row])
        kept += bool(torch.equal(plain[row], batch[row]))
    assert 2 <= kept <= 10  # about half begin without a fault


def test_steps_are_reported_once_and_in_order():
    seen = []
    own = task(6, redraw=Redraw(above, tries=40), on_step=lambda *step: seen.append(step))
    x = Euler(steps=10).sample(ExactGaussian(), LINE, own)
    assert [number for number, _, _ in seen] == list(range(10))
    assert torch.equal(seen[-1][1]["x"], x["x"])
    assert not above(seen[2][2]).any()  # t = 0.8, the third step, is where faults are counted


def test_the_draw_with_the_fewest_faults_is_kept():
    """Faults 3, 1 and 2 of one row, 0 of the other: the second draw and the first, and generators as they left them."""
    generators = [torch.Generator().manual_seed(row) for row in range(2)]
    faults = iter([[3.0, 0.0], [1.0, 9.0], [2.0, 9.0]])
    values, states = [], []

    def draw():
        values.append(torch.stack([torch.rand((), generator=g) for g in generators]))
        states.append([g.get_state() for g in generators])
        state = State({"x": values[-1][:, None, None]}, torch.ones(2, 1, dtype=torch.bool))
        return [(state, state)]

    found = least_faults(draw, Redraw(lambda _: torch.tensor(next(faults)), tries=2), generators)
    assert found[0][0]["x"].flatten().tolist() == [float(values[1][0]), float(values[0][1])]
    assert torch.equal(generators[0].get_state(), states[1][0])
    assert torch.equal(generators[1].get_state(), states[0][1])


def test_settings_of_no_use_are_refused():
    for wrong in ({"times": (0.0,)}, {"times": (1.5,)}, {"times": ()}, {"times": (0.5, 0.75)}, {"tries": -1}):
        with pytest.raises(UsageError, match="redraw"):
            Redraw(above, **wrong)
    assert Redraw(above, (0.8,)).steps([(1.0, 0.75), (0.75, 0.5)]) == [2]
    assert Redraw(above, (0.1,)).steps([(1.0, 0.5), (0.5, 0.0)]) == [2]
    assert Redraw(above).steps([(1.0, 0.7), (0.7, 0.4), (0.4, 0.0)]) == [2, 3]
    assert Redraw(above).steps([(1.0, 0.4), (0.4, 0.0)]) == [2]


def test_faults_that_show_later_are_looked_for_later():
    """A fault that is seen at t = 0.5 alone: each sample that ends without has begun anew for it, others are as before.

    The flow of a normal keeps the order, so a sample has the fault at the end if it has it at 0.5.
    """
    anew = 0
    for row in range(8):
        calls = []

        def late(prediction: State, calls: list = calls) -> torch.Tensor:
            calls.append(0)
            return above(prediction) * (len(calls) % 2 == 0)  # every second count is at the later time

        alone = task(1, generators=[task(8).generators[row]], redraw=Redraw(late, (0.8, 0.5), tries=40))
        x = Euler(steps=10).sample(ExactGaussian(), LINE, alone)["x"]
        plain = Euler(steps=10).sample(ExactGaussian(), LINE, task(1, generators=[task(8).generators[row]]))["x"]
        assert float(x[0, 0, 0]) <= MEAN
        assert (len(calls) == 2) == bool(torch.equal(x, plain)) == bool(plain[0, 0, 0] <= MEAN)
        anew += len(calls) > 2
    assert 1 <= anew <= 7


CODES = "LEEEELLHHHHHHHHLLEEEEL"


def crossover(side: int) -> np.ndarray:
    """CA of two strands that point up and a helix that crosses over in front of them; the second is at 5 side Å in x.

    Who looks from the front (+y, z up) has -x to the right, so -1 is right-handed.
    """
    ca = np.zeros((len(CODES), 3))
    for k in range(len(CODES)):
        if k < 6:
            ca[k] = (0.0, 0.0, 3.3 * k)
        elif k < 16:
            ca[k] = (2.5 * side, 9.0, 16.0 - 1.5 * (k - 6))
        else:
            ca[k] = (5.0 * side, 0.0, 3.3 * (k - 16))
    return ca


def test_hands_of_a_crossover_and_its_mirror_image():
    partners = np.zeros((len(CODES),) * 2, dtype=int)
    for k in range(4):
        partners[1 + k, 17 + k] = partners[17 + k, 1 + k] = 1
    known = strands_of(CODES), partners
    assert [left_handed(crossover(side), known) for side in (-1, 1)] == [0, 1]
    for axis in np.eye(3):
        assert left_handed(crossover(-1) * (1 - 2 * axis), known) == 1  # a mirror image of the right-handed one
    assert left_handed(crossover(1), (known[0], 0 * partners)) == 0  # strands of two sheets have no crossover
    assert left_handed(crossover(1), None) == 0


def test_what_is_asked_says_which_strands_pair(monkeypatch):
    """A design begins anew with pairs that are asked, not with a string alone; without redraws it stays as it was."""
    torch.manual_seed(0)
    encoder = {"name": "frame_transformer", "dim": 16, "blocks": 1, "heads": 2}
    conditions = ["length", "secondary_structure", "strand_pairing"]
    model = build_model(
        {"space": {"name": "backbone"}, "encoder": encoder, "family": {"name": "flow_matching"},
         "conditions": conditions, "about": {"lengths": [10, 40]}}
    )  # fmt: skip
    model.family.eval()
    pairs = StrandPairing.parse("2-5:18-21")
    asked = [SecondaryStructure(CODES), pairs]
    strands, partners = strands_and_pairs(asked, len(CODES))
    assert strands == [(1, 5), (17, 21)]
    assert np.argwhere(np.triu(partners)).tolist() == [[1, 17], [2, 18], [3, 19], [4, 20]]
    assert strands_and_pairs(asked[:1], len(CODES)) is None
    assert strands_and_pairs([Length(20)], 20) is None
    # Networks of random weights make no strands: a side of the first residue stands for a hand.
    monkeypatch.setattr(hands, "left_handed", lambda ca, known: int(known is not None and ca[0, 0] > 0))
    for request, fewest, most in ((asked, 1, 5), (asked[:1], 0, 0)):
        made = [
            {
                d.index: d
                for d in generate(model, request, 6, 0, SampleSettings(steps=5, redraws=tries, blueprint="free"))
            }
            for tries in (0, 8)
        ]
        changed = sum(not np.array_equal(made[0][i].raw.atoms[:, :4], made[1][i].raw.atoms[:, :4]) for i in range(6))
        assert fewest <= changed <= most
        assert all(made[1][i].raw.atoms[0, 1, 0] <= 0 for i in range(6)) or request == asked[:1]
    with pytest.raises(UsageError, match="redraws -1"):
        list(generate(model, asked, 1, 0, SampleSettings(redraws=-1)))

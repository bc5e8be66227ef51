"""Distillation: a network learns to make in few steps, without guidance, what a model makes in many steps with it.

The student has the architecture of its teacher and begins from its weights. The teacher's ways from noise to data,
with its guidance, are cut into as many jumps as the student is to have steps (`training.ways`), and the student learns
the prediction of x_data with which each step of Euler ends where the way does (`protgen.samplers.jumps`). It reads the
aim of the jump before as self-conditioning, as it will read its own prediction.

The loss is the squared error of the velocity of each field, in units of its scale, which is that of the prediction
times (alpha' - alpha sigma' / sigma)^2, 1 / t^2 on the straight path; and the auxiliary losses of the space with the
aim in place of the data.

References:
    Meng et al. 2023, On Distillation of Guided Diffusion Models, section 3.1 (a student of the guided prediction).
    Salimans and Ho 2022, Progressive Distillation for Fast Sampling of Diffusion Models, section 3.
    Luhman and Luhman 2021, Knowledge Distillation in Iterative Generative Models (along the teacher's own samples).
"""

import torch
from torch import Generator, Tensor

from protgen.families.base import Family, IterativeFamily
from protgen.spaces.capabilities import auxiliary_losses
from protgen.types import Batch, Conditioning, Losses, State


def distillation_loss(family: Family, batch: Batch, rng: Generator) -> Losses:
    """The loss of a student, in place of its family's own (`Model.objective`); a mean over jumps.

    Args:
        family: the student.
        batch: of jumps, as `WayBatches` gives it.
        rng: not used, as the ways hold all noise.
    """
    assert isinstance(family, IterativeFamily)
    x_t, aim, guess = (point(family, batch, what) for what in ("x", "aim", "guess"))
    cond = Conditioning(batch["y_residue"], batch["y_globals"], batch.arrays.get("y_pair"))
    total: dict[str, Tensor] = {}
    # The first step of a sampler has no prediction before it.
    for rows, known in ((batch["first"], None), (~batch["first"], guess)):
        if not bool(rows.any()):
            continue
        own, t = chosen(x_t, rows), batch["t"][rows]
        read = None if known is None else chosen(known, rows)
        prediction = family.denoiser().denoise(own, t, cond.rows(lambda x, rows=rows: x[rows]), read)
        for name, term in errors(family, prediction, chosen(aim, rows), t).items():
            total[name] = total.get(name, 0.0) + term.sum() / len(rows)
    return Losses(torch.stack(list(total.values())).sum(), {name: term.detach() for name, term in total.items()})


def point(family: IterativeFamily, batch: Batch, what: str) -> State:
    """Points of a batch of jumps by the beginning of their name: x, aim or guess."""
    fields = {name: batch[f"{what}_{name}"] for name in family.space.manifolds}
    return family.space.project(State(fields, batch.mask))  # which says what stands where nothing is real


def chosen(state: State, rows: Tensor) -> State:
    """Some rows of a state."""
    return State({name: x[rows] for name, x in state.fields.items()}, state.mask[rows])


def errors(family: IterativeFamily, prediction: State, aim: State, t: Tensor) -> dict[str, Tensor]:
    """(b,) weighted squared error of each field, and the auxiliary losses of the space.

    Args:
        family: the student.
        prediction: of x_data.
        aim: what it is to be.
        t: (b,) times.
    """
    space, weight = family.space, family.path.flat.data_rate(t).square()
    scales = space.scale(aim.mask)
    found = {}
    for name, manifold in space.manifolds.items():
        error = space.reduce(manifold.squared_error(prediction[name], aim[name]), aim.mask)
        found[name] = weight * error / scales[name].square()
    return found | auxiliary_losses(space, prediction, aim, family.path.seen(t))

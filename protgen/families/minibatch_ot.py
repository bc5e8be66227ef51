"""Minibatch optimal transport: noise is assigned to examples so that paths are short and cross less.

Among examples with the same mask (length), the assignment minimises the sum of squared distances, each field in units
of its scale (for curved fields, the smooth squared distance of their manifold). The marginal distribution of noise does
not change. Its distribution given y does: noise and y become dependent through x, more so in larger batches and where y
determines x. Sampling uses noise that is independent of y, which is then biased. The assignment is off by default.

References:
    Tong et al. 2024, Improving and generalizing flow-based generative models with minibatch optimal transport, section
    3.2. Pooladian et al. 2023, Multisample Flow Matching. Bose et al. 2023, FoldFlow, section 3.2 (on SO(3)).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from protgen.spaces.base import Space
from protgen.types import State


def squared_distances(space: Space, first: State, second: State) -> Float[Tensor, "n n"]:
    """Squared distances between n points and n other points with the same mask, fields in units of their scale.

    Args:
        space: of the points.
        first: n points.
        second: n points with the same mask.
    """
    scales, mask = space.scale(first.mask), first.mask
    total = torch.zeros(len(mask), len(mask), device=mask.device)
    for name, manifold in space.manifolds.items():
        for row in range(len(mask)):
            error = manifold.squared_error(first[name][row : row + 1], second[name])
            total[row] += space.reduce(error, mask) / scales[name].square()
    return total


def couple(space: Space, noise: State, data: State) -> State:
    """The noise, reordered so that row i is the noise assigned to row i of the data.

    Args:
        space: of the points.
        noise: points to reorder.
        data: points that they are assigned to.
    """
    from scipy.optimize import linear_sum_assignment  # here, as sampling needs none of it

    order = torch.arange(len(data.mask))
    masks = data.mask.cpu()
    _, group = torch.unique(masks, dim=0, return_inverse=True)
    for number in range(int(group.max()) + 1):
        members = (group == number).nonzero().flatten()
        if len(members) < 2:
            continue
        rows = members.to(data.mask.device)
        pick = [State({k: state[k][rows] for k in space.manifolds}, state.mask[rows]) for state in (data, noise)]
        cost = squared_distances(space, pick[0], pick[1]).cpu().double().numpy()
        _, chosen = linear_sum_assignment(cost)
        order[members] = members[torch.as_tensor(chosen)]
    order = order.to(data.mask.device)
    return State({name: value[order] for name, value in noise.fields.items()}, data.mask)

"""Adam over one tensor of coordinates.

To the bit the steps of `torch.optim.Adam` on a CPU. That optimizer imports torch's compiler when it is made, which
takes longer than one design.
"""

import torch
from torch import Tensor

EPSILON = 1e-8


class Adam:
    """Gradient descent with a step for each number, by the running moments of its slope.

    Reference: Kingma and Ba 2015, algorithm 1.

    Args:
        point: what is moved, in place.
        betas: decay of the mean and of the mean square of slopes.
        epsilon: root mean square of a slope below which it is not followed in full, in the unit of the slope.

    Examples:
        >>> point = torch.tensor([1.0, -2.0])
        >>> Adam(point).step(torch.tensor([4.0, -0.5]), rate=0.1)
        >>> [round(x, 6) for x in point.tolist()]
        [0.9, -1.9]
    """

    def __init__(self, point: Tensor, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = EPSILON) -> None:
        self.point, self.betas, self.epsilon = point, betas, epsilon
        self.steps = 0
        self.mean, self.square = torch.zeros_like(point), torch.zeros_like(point)

    @torch.no_grad()
    def step(self, slope: Tensor, rate: float) -> None:
        """Move the point.

        Args:
            slope: gradient at the point, of its shape.
            rate: size of a step, in the unit of the point.
        """
        self.steps += 1
        first, second = self.betas
        self.mean.lerp_(slope, 1 - first)
        self.square.mul_(second).addcmul_(slope, slope, value=1 - second)
        spread = (self.square.sqrt() / (1 - second**self.steps) ** 0.5).add_(self.epsilon)
        self.point.addcdiv_(self.mean, spread, value=-rate / (1 - first**self.steps))

"""Letters drawn from logits: what is drawn and what is given, one draw, and the sequences that come of it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from protgen.errors import ToolError
from protgen.inverse_folding.base import DesignedSequence, SequenceTask
from protgen.inverse_folding.chain_letters import joined
from protgen.inverse_folding.network_input import LETTERS, UNKNOWN, tied_groups
from protgen.structure.protein import Protein

NEVER = -1e8  # logit of a letter that is left out


@dataclass(frozen=True)
class Drawing:
    """What is drawn, and how.

    Attributes:
        temperature: of the logits.
        groups: (g, m) residues that share a letter, a row a group, filled up with -1; every residue is in one row.
        given: (l,) letters by number; -1 where one is to be drawn.
        omitted: letters, by number, that are never drawn.
    """

    temperature: float
    groups: Int[Tensor, "g m"]
    given: Int[Tensor, " l"]
    omitted: tuple[int, ...] = (UNKNOWN,)


@dataclass(frozen=True)
class Decoded:
    """Sequences with the network's opinion of them.

    Attributes:
        letters: (n, l) by number.
        log_probs: (n, l, 21) nats at temperature 1, given the letters decoded before.
    """

    letters: Int[Tensor, "n l"]
    log_probs: Float[Tensor, "n l 21"]

    @property
    def of_letters(self) -> Float[Tensor, "n l"]:
        """Log-probability of each letter, nats."""
        return self.log_probs.gather(-1, self.letters[..., None])[..., 0]


def drawing_of(protein: Protein, task: SequenceTask, temperature: float, omit: str) -> Drawing:
    """What the decoder is to draw.

    Raises:
        ToolError: if the task does not fit the backbone, or ties residues with different letters.
    """
    given = np.full(protein.length, -1)
    if task.fixed is not None:
        if len(task.fixed) != protein.length:
            raise ToolError(f"{protein.name}: {len(task.fixed)} letters are given for {protein.length} residues")
        for k, letter in enumerate(task.fixed):
            if letter:
                given[k] = LETTERS.index(letter)
    groups = tied_groups(task.tied, protein)
    for group in groups:
        letters = {int(given[k]) for k in group if given[k] >= 0}
        if len(letters) > 1:
            raise ToolError(f"{protein.name}: tied residues have different letters, {[LETTERS[k] for k in letters]}")
        if letters:
            given[list(group)] = letters.pop()
    widest = max(len(group) for group in groups)
    rows = torch.tensor([[*group, *[-1] * (widest - len(group))] for group in groups])
    omitted = (UNKNOWN, *(LETTERS.index(letter) for letter in omit))
    return Drawing(temperature, rows, torch.from_numpy(given), omitted)


def pick(logits: Float[Tensor, "n 21"], drawing: Drawing, uniform: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """One letter of each row, by inversion of its cumulative probabilities."""
    logits = logits.clone()
    logits[:, list(drawing.omitted)] = NEVER
    if drawing.temperature == 0:
        return logits.argmax(-1)
    cumulative = F.softmax(logits.double() / drawing.temperature, -1).cumsum(-1)
    # Scaled by the last sum, which rounding leaves a little off 1: an omitted letter at the end is never reached.
    return torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0].clamp(max=UNKNOWN)


def streams(drawing: Drawing, seed: int) -> tuple[Int[Tensor, " g"], Float[Tensor, " g"]]:
    """Order of the groups, those with a given letter first, and a uniform number for each step."""
    generator = torch.Generator().manual_seed(seed)
    n = len(drawing.groups)
    later = (drawing.given[drawing.groups[:, 0]] < 0).double()
    order = (later + torch.rand(n, generator=generator, dtype=torch.float64)).argsort()
    return order, torch.rand(n, generator=generator, dtype=torch.float64)


def described(protein: Protein, decoded: Decoded, designed: np.ndarray) -> list[DesignedSequence]:
    """Decoded sequences as text with their log-probabilities."""
    found = []
    for numbers, log_probs in zip(decoded.letters.numpy(), decoded.of_letters.double().numpy(), strict=True):
        letters = np.array(list(LETTERS))[numbers]
        found.append(DesignedSequence(joined(protein, letters), log_probs, designed))
    return found

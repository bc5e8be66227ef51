"""Draw sequences from a network residue by residue, or score given ones, in an order of its own for each sequence.

Residues with a given letter come first. Tied residues are decoded one after the other and share the letter that their
mean logits give, as in the published code. Sequence k depends on its own random stream alone.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from protgen.inverse_folding.letter_drawing import Decoded, Drawing, pick, streams
from protgen.inverse_folding.letter_network import Encoded, LetterNetwork
from protgen.inverse_folding.network_input import LETTERS


class Decoder:
    """The state of decoding n sequences of one backbone.

    Args:
        network: that gives letters.
        encoded: the backbone.
        n: number of sequences.
    """

    def __init__(self, network: LetterNetwork, encoded: Encoded, n: int) -> None:
        self.network = network
        self.encoded = encoded
        self.rows = torch.arange(n)
        self.edge_parts = [layer.of_edges(encoded.edges) for layer in network.decoders]
        # What each residue gives to the messages of its neighbours: at first what the encoder knows of it.
        self.seen = [layer.of_neighbours(encoded.nodes).repeat(n, 1, 1) for layer in network.decoders]

    def visit(self, residue: Int[Tensor, " n"], present: Tensor) -> Float[Tensor, "n 21"]:
        """Logits of one residue of each sequence; its node is then seen by others, without a letter.

        Args:
            residue: of each sequence.
            present: (n,) where there is one; the others keep their state.
        """
        neighbours = self.encoded.neighbours[residue]
        node = self.encoded.nodes[residue]
        for layer, edges, seen in zip(self.network.decoders, self.edge_parts, self.seen, strict=True):
            after = layer(node, edges[residue] + seen[self.rows[:, None], neighbours])
            given = layer.of_neighbours(node)
            seen[self.rows, residue] = torch.where(present[:, None], given, seen[self.rows, residue])
            node = after
        return self.network.logits(node)

    def write(self, residue: Int[Tensor, " n"], letter: Int[Tensor, " n"], present: Tensor) -> None:
        """Let the neighbours of a residue see its letter."""
        embedded = self.network.embed(letter) * present[:, None]
        for layer, seen in zip(self.network.decoders, self.seen, strict=True):
            seen[self.rows, residue] += layer.of_letters(embedded)


@torch.no_grad()
def draw(network: LetterNetwork, encoded: Encoded, drawing: Drawing, seeds: Sequence[int]) -> Decoded:
    """One sequence for each seed.

    Args:
        network: that gives letters.
        encoded: the backbone.
        drawing: what is drawn, and how.
        seeds: of each sequence.
    """
    orders, uniforms = zip(*(streams(drawing, seed) for seed in seeds), strict=True)
    order, uniform = torch.stack(orders), torch.stack(uniforms)
    decoder = Decoder(network, encoded, len(seeds))
    letters = torch.zeros(len(seeds), len(encoded.nodes), dtype=torch.long)
    log_probs = torch.zeros(len(seeds), len(encoded.nodes), len(LETTERS))
    for step in range(order.shape[1]):
        group = drawing.groups[order[:, step]]
        mean = visit_group(decoder, group, log_probs)
        given = drawing.given[group[:, 0]]
        letter = torch.where(given >= 0, given, pick(mean, drawing, uniform[:, step]))
        for member in range(group.shape[1]):
            present = group[:, member] >= 0
            residue = group[:, member].clamp(min=0)
            letters[decoder.rows, residue] = torch.where(present, letter, letters[decoder.rows, residue])
            decoder.write(residue, letter, present)
    return Decoded(letters, log_probs)


@torch.no_grad()
def score(network: LetterNetwork, encoded: Encoded, letters: Int[Tensor, "n l"], order: Int[Tensor, "n l"]) -> Decoded:
    """The network's opinion of given sequences.

    Args:
        network: that gives letters.
        encoded: the backbone.
        letters: by number.
        order: residues of each sequence in the order of decoding.
    """
    place = order.argsort(-1)
    before = place[:, encoded.neighbours] < place[..., None]
    logits = [network(encoded, *each) for each in zip(letters, before, strict=True)]
    return Decoded(letters, torch.stack(logits).log_softmax(-1))


def visit_group(decoder: Decoder, group: Int[Tensor, "n m"], log_probs: Tensor) -> Float[Tensor, "n 21"]:
    """Mean logits of the members of a group; the log-probabilities of each are written where they belong."""
    total = torch.zeros(len(group), log_probs.shape[-1])
    for member in range(group.shape[1]):
        present = group[:, member] >= 0
        residue = group[:, member].clamp(min=0)
        logits = decoder.visit(residue, present)
        before = log_probs[decoder.rows, residue]
        log_probs[decoder.rows, residue] = torch.where(present[:, None], F.log_softmax(logits, -1), before)
        total += logits * present[:, None]
    return total / (group >= 0).sum(-1, keepdim=True)

"""Batches of a store: collated, padded, bucketed by length, and the same again for the same (seed, epoch)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from protgen.data.store import Item, Store
from protgen.types import Batch


def collate(items: Sequence[Item]) -> Batch:
    """A padded batch: `atoms` (b, l, 4, 3) float32 Å, `labels` (b, l) uint8, and the mask."""
    length = max(len(item.atoms) for item in items)
    atoms = torch.zeros(len(items), length, 4, 3)
    labels = torch.zeros(len(items), length, dtype=torch.uint8)
    mask = torch.zeros(len(items), length, dtype=torch.bool)
    for row, item in enumerate(items):
        n = len(item.atoms)
        atoms[row, :n] = torch.from_numpy(np.array(item.atoms))
        labels[row, :n] = torch.from_numpy(np.array(item.labels))
        mask[row, :n] = True
    return Batch({"atoms": atoms, "labels": labels}, mask)


class LengthBuckets:
    """Batches of items of similar length with a bounded number of residue pairs, the measure of a dense model's cost.

    Args:
        lengths: (n,) residues of each item.
        pairs: most residue pairs (items times longest squared) of a batch.
        seed: of the shuffling.
    """

    def __init__(self, lengths: np.ndarray, pairs: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.pairs = pairs
        self.seed = seed

    def epoch(self, number: int) -> list[np.ndarray]:
        """Batches of one pass over the data, as index arrays, in random order; a function of (seed, number) alone."""
        rng = np.random.default_rng([self.seed, number])
        # Jitter mixes neighbours in length anew each epoch at little cost in padding.
        order = np.argsort(self.lengths + rng.uniform(0, 6, len(self.lengths)))
        batches: list[np.ndarray] = []
        start = 0
        for stop in range(1, len(order) + 1):
            full = stop == len(order)
            if not full:
                longest = self.lengths[order[start : stop + 1]].max()
                full = (stop + 1 - start) * longest**2 > self.pairs
            if full:
                batches.append(order[start:stop])
                start = stop
        return [batches[i] for i in rng.permutation(len(batches))]


def training_batches(store: Store, indices: np.ndarray, pairs: int, seed: int, start: int = 0) -> Iterator[Batch]:
    """Endless batches from the given step on: resuming at step s gives what an unbroken run would have seen."""
    buckets = LengthBuckets(store.lengths[indices], pairs, seed)
    step, epoch = 0, 0
    while True:
        batches = buckets.epoch(epoch)
        for batch in batches[max(0, start - step) :]:
            yield collate([store[int(i)] for i in indices[batch]])
        step += len(batches)
        epoch += 1

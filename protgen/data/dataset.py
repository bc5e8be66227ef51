"""Batches of a store: collated, padded, bucketed by length, and the same again for the same (seed, epoch)."""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from protgen.data.fields import CHAIN_INDEX
from protgen.data.store import Item, Store
from protgen.errors import DataError
from protgen.types import CHAIN_GAP, Batch


def collate(items: Sequence[Item]) -> Batch:
    """A padded batch with the mask and all fields of the items.

    Fields of residues are (b, l, ...) and zero beyond the end of a chain: `atoms` (b, l, 4, 3) float32 Å, `labels`
    (b, l) uint8. Fields of chains are (b, ...). Between two chains or segments of an item lie `CHAIN_GAP` positions
    that are no residues, as between the chains of an assembly that is sampled; `chain_index` (b, l) has a number there
    too, and beyond the end.
    """
    places = [places_of(item) for item in items]
    mask = torch.zeros(len(items), max(int(own[-1]) + 1 for own in places), dtype=torch.bool)
    for row, own in enumerate(places):
        mask[row, torch.from_numpy(own)] = True
    held = [item.per_residue for item in items]
    arrays = {name: padded([fields[name] for fields in held], mask.shape[1], places) for name in held[0]}
    if CHAIN_INDEX.name in arrays:
        arrays[CHAIN_INDEX.name] = arrays[CHAIN_INDEX.name].cummax(dim=1).values
    arrays |= {name: torch.from_numpy(np.stack([item.chain[name] for item in items])) for name in items[0].chain}
    return Batch(arrays, mask)


def has_parts(batch: Batch) -> bool:
    """Whether examples of a batch may have several chains or segments."""
    own = batch.arrays.get(CHAIN_INDEX.name)
    return own is not None and own.shape == batch.mask.shape


def places_of(item: Item) -> np.ndarray:
    """(l,) position of each residue of an item in a batch, with the gaps between its chains or segments."""
    index = np.arange(len(item.atoms))
    own = item.residue.get(CHAIN_INDEX.name)
    return index if own is None else index + CHAIN_GAP * np.asarray(own, dtype=int)


def padded(parts: Sequence[np.ndarray], length: int, places: Sequence[np.ndarray] | None = None) -> Tensor:
    """Arrays (l, ...) of several chains as one tensor (b, length, ...), zero where there is no residue.

    Args:
        parts: of each chain.
        length: of the tensor.
        places: of the residues of each; the first ones where it is None.
    """
    joined = np.zeros((len(parts), length, *parts[0].shape[1:]), dtype=parts[0].dtype)
    for row, part in enumerate(parts):
        joined[row, slice(len(part)) if places is None else places[row]] = part
    return torch.from_numpy(joined)


class LengthBuckets:
    """Batches of items of similar length with a bounded number of residue pairs, the measure of a dense model's cost.

    Args:
        lengths: (n,) residues of each item.
        max_pairs: most residue pairs (items times longest squared) of a batch.
        seed: of the shuffling.
    """

    def __init__(self, lengths: np.ndarray, max_pairs: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.max_pairs = max_pairs
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
                full = (stop + 1 - start) * longest**2 > self.max_pairs
            if full:
                batches.append(order[start:stop])
                start = stop
        return [batches[i] for i in rng.permutation(len(batches))]


class StoreBatches:
    """Endless batches of a split of a store: `batches(i)` is batch i, whatever was asked before.

    Args:
        store: where the items are.
        max_pairs: most residue pairs of a batch (see LengthBuckets).
        seed: of the order.
        split: name of the split.

    Raises:
        DataError: if the split has no items.
    """

    def __init__(self, store: Store, max_pairs: int, seed: int, split: str = "train") -> None:
        self.store = store
        self.indices = store.indices(split)
        if not len(self.indices):
            name = {"train": "training"}.get(split, split)
            raise DataError(f"{store.folder}: no items in the {name} split; build the store with some")
        self.buckets = LengthBuckets(store.lengths[self.indices], max_pairs, seed)
        self._entering = threading.Lock()  # one thread may read ahead while another asks for names
        self._epoch, self._first = 0, 0
        self._batches = self.buckets.epoch(0)

    def __call__(self, step: int) -> Batch:
        """Batch number `step`, from 0."""
        return collate([self.store[i] for i in self.rows(step)])

    def rows(self, step: int) -> list[int]:
        """Rows of the store that are batch number `step`; from any thread."""
        with self._entering:
            if step < self._first:
                self._enter(0, 0)
            while step >= self._first + len(self._batches):
                self._enter(self._epoch + 1, self._first + len(self._batches))
            return [int(i) for i in self.indices[self._batches[step - self._first]]]

    @property
    def per_epoch(self) -> int:
        """Batches of the first epoch; others have about as many."""
        return len(self.buckets.epoch(0))

    @property
    def heaviest(self) -> int:
        """Number of the batch of the first epoch with most residue pairs."""
        pairs = [len(rows) * int(self.buckets.lengths[rows].max()) ** 2 for rows in self.buckets.epoch(0)]
        return int(np.argmax(pairs))

    def names(self, step: int) -> list[str]:
        """Names of the items of batch number `step`."""
        return [str(self.store.manifest["kept"][i]["id"]) for i in self.rows(step)]

    def _enter(self, epoch: int, first: int) -> None:
        """Go to an epoch, whose first batch has that number."""
        self._epoch, self._first = epoch, first
        self._batches = self.buckets.epoch(epoch)

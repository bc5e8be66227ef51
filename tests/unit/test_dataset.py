"""Batches: collated without loss, bounded in cost, and the same again at any step."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from protgen.data.dataset import LengthBuckets, StoreBatches, collate
from protgen.data.store import Item, Store, write_store


def make_item(i: int, length: int) -> Item:
    atoms = np.full((length, 4, 3), float(i), dtype=np.float32)
    labels, numbers = np.full(length, i % 3, dtype=np.uint8), np.arange(length, dtype=np.int32)
    return Item(f"item{i}", atoms, labels, numbers, "train", f"c{i}", {"length": length})


def test_collate_pads_and_masks():
    """Real residues are as given, the rest is zero and masked."""
    batch = collate([make_item(1, 3), make_item(2, 5)])
    assert batch.mask.sum(1).tolist() == [3, 5]
    assert batch["atoms"].shape == (2, 5, 4, 3)
    assert (batch["atoms"][0, :3] == 1).all()
    assert (batch["atoms"][0, 3:] == 0).all()
    assert (batch["labels"][1] == 2).all()
    assert batch["atoms"].dtype == torch.float32
    assert batch["numbers"][0].tolist() == [0, 1, 2, 0, 0]


def test_an_epoch_has_every_item_once_within_the_budget():
    """Batches of alike lengths whose pairs stay below the limit, unless one item alone is above it."""
    lengths = np.random.default_rng(0).integers(20, 120, 300)
    batches = LengthBuckets(lengths, 60_000, 0).epoch(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    for batch in batches:
        longest = lengths[batch].max()
        assert len(batch) == 1 or len(batch) * longest**2 <= 60_000
    real = sum(lengths[batch].sum() for batch in batches)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert real / padded > 0.9
    lone = LengthBuckets(np.array([500, 500]), 1000, 0).epoch(0)
    assert sorted(len(batch) for batch in lone) == [1, 1]


def test_epochs_differ_but_repeat():
    """A function of (seed, epoch) alone."""
    lengths = np.random.default_rng(0).integers(20, 120, 100)

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(LengthBuckets(lengths, 50_000, seed).epoch(epoch)).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_starting_at_step_s_gives_what_an_unbroken_run_sees(tmp_path):
    """Across the end of an epoch too."""
    write_store(tmp_path, [make_item(i, 10 + i) for i in range(12)], [], {})
    store = Store(tmp_path)
    indices = store.indices("train")
    per_epoch = len(LengthBuckets(store.lengths[indices], 1000, 3).epoch(0))
    unbroken = StoreBatches(store, 1000, 3)
    seen = [unbroken(step)["atoms"] for step in range(2 * per_epoch + 2)]
    for start in (1, per_epoch, per_epoch + 1, 2 * per_epoch):
        resumed = StoreBatches(store, 1000, 3)
        for offset in range(2):
            assert torch.equal(resumed(start + offset)["atoms"], seen[start + offset])


def test_threads_that_ask_for_steps_far_apart_get_their_own(tmp_path):
    """As a reader does that is a step ahead, and a run that has diverged and names its items."""
    rng = np.random.default_rng(1)
    write_store(tmp_path, [make_item(i, int(n)) for i, n in enumerate(rng.integers(5, 30, 40))], [], {})
    store = Store(tmp_path)
    alone, shared = StoreBatches(store, 1000, 3), StoreBatches(store, 1000, 3)
    steps = rng.integers(0, 5 * alone.per_epoch, 600).tolist()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(shared.rows, steps))
    finally:
        sys.setswitchinterval(before)
    assert found == [alone.rows(step) for step in steps]

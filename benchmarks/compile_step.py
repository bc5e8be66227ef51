"""CPU seconds of a loss and its gradient, as they are and with the blocks of the encoder compiled, A B A B.

    python benchmarks/compile_step.py --store STORE --out compile_step.json [--models flow-pairing,flow-small]

Shapes are dynamic, as each batch has its own. What compiling takes, that of processes it starts included, is said
apart: a first round of all batches that are there again in the rounds that count. Weights are those of a released model
and stay as they are, so that losses and gradients of both ways can be compared.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import torch
from torch import nn

from protgen.data.dataset import StoreBatches
from protgen.data.store import Store
from protgen.models.released import load
from protgen.training.loss import TrainingLoss
from protgen.training.step import step_generator

ROUNDS = 4


def used() -> float:
    """CPU seconds of this process and of those it has waited for."""
    return sum(os.times()[:4])


def measured(name: str, store: Store, batches: int, pairs: int) -> dict[str, float | list[float]]:
    """Seconds of both ways, and how far apart their results are.

    Args:
        name: of a released model.
        store: of the data.
        batches: of each round.
        pairs: of residues in a batch.
    """
    torch.manual_seed(0)
    model = load(name)
    family = model.family.train()
    source, loss = StoreBatches(store, pairs, 0), TrainingLoss(model, {})
    blocks = family.encoder.blocks
    assert isinstance(blocks, nn.ModuleList)
    plain = [block.forward for block in blocks]
    compiled = [torch.compile(forward, dynamic=True) for forward in plain]

    def one(number: int) -> tuple[float, float]:
        """Loss and norm of its gradient."""
        family.zero_grad(set_to_none=True)
        found = loss(source(number), step_generator(0, number))["loss"]
        found.backward()
        return float(found.detach()), float(
            nn.utils.get_total_norm([p.grad for p in family.parameters() if p.grad is not None])
        )

    def seconds(forwards: list) -> tuple[float, list[tuple[float, float]]]:
        for block, forward in zip(blocks, forwards, strict=True):
            block.forward = forward
        begun = used()
        results = [one(number) for number in range(batches)]  # the same batches and random streams
        return (used() - begun) / batches, results

    seconds(plain)
    clock = time.monotonic()
    found: dict[str, float | list[float]] = {"first round, CPU s": batches * seconds(compiled)[0]}
    found["first round, s"] = time.monotonic() - clock
    rounds = [(seconds(plain), seconds(compiled)) for _ in range(ROUNDS)]
    found["CPU s of a step"] = [a for (a, _), _ in rounds]
    found["CPU s of a compiled step"] = [b for _, (b, _) in rounds]
    found["ratios"] = [b / a for (a, _), (b, _) in rounds]
    pairs_of = [both for (_, xs), (_, ys) in rounds for both in zip(xs, ys, strict=True)]
    for place, what in enumerate(("loss", "norm of the gradient")):
        found[f"largest relative difference of a {what}"] = max(abs(x[place] / y[place] - 1) for x, y in pairs_of)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default="flow-pairing,flow-small")
    parser.add_argument("--batches", type=int, default=8, help="of each round")
    parser.add_argument("--pairs", type=int, default=51_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict = {"machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"}
    for name in options.models.split(","):
        found[name] = measured(name, Store(options.store), options.batches, options.pairs)
        print(name, json.dumps(found[name]), flush=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

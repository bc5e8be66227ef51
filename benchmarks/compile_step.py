"""CPU seconds of a training step of `flow_small`, as it is and with the blocks of its encoder compiled, A B A B.

    python benchmarks/compile_step.py --store STORE --out compile_step.json

Shapes are dynamic, as each batch has its own; what compiling takes is said apart.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from protgen.cli.train_config import load_config
from protgen.data.dataset import StoreBatches
from protgen.data.store import Store
from protgen.models.model import build_model
from protgen.training.optimizers import make_optimizer
from protgen.training.processes import Processes
from protgen.training.step import TrainingStep

ROUNDS = 4


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8, help="of each round")
    parser.add_argument("--pairs", type=int, default=51_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = load_config(["experiment=flow_small", f"data.store={options.store}", "train.bf16=false"])
    model = build_model(config.model)
    source = StoreBatches(Store(options.store), options.pairs, 0)
    optimizer = make_optimizer(model.family.train(), config.settings, model.family.adam_betas)
    step = TrainingStep(model, optimizer, config.settings, Processes(1, 0, torch.device("cpu")))
    blocks = model.family.encoder.blocks
    assert isinstance(blocks, nn.ModuleList)
    plain = [block.forward for block in blocks]
    compiled = [torch.compile(forward, dynamic=True) for forward in plain]

    def seconds(forwards: list, count: int) -> float:
        for block, forward in zip(blocks, forwards, strict=True):
            block.forward = forward
        begun = time.process_time()
        for number in range(count):  # the same batches and random streams in each round
            step([source(number)], number)
        return (time.process_time() - begun) / count

    seconds(plain, 1)
    found: dict[str, float | list[float]] = {"compiling": options.steps * seconds(compiled, options.steps)}
    rounds = [(seconds(plain, options.steps), seconds(compiled, options.steps)) for _ in range(ROUNDS)]
    found |= {"plain": [a for a, _ in rounds], "compiled": [b for _, b in rounds]}
    found["ratios"] = [b / a for a, b in rounds]
    print(json.dumps(found))
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

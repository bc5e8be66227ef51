"""Memory of the encoders on a long chain, and their speed side by side at equal parameters.

    python benchmarks/encoders.py --out benchmarks/results/encoders [--parts memory,speed] [--seed 0] [--length 1000]
        [--parameters 1000000] [--names egnn,gvp]

Both parts run one forward and backward pass over random backbone frames with an estimate for self-conditioning, in
float32 on one thread of a CPU, each encoder in a process of its own. `memory` takes the encoder as its configuration in
configs/encoder has it and again at equal parameters, and reports the peak resident memory of the process and how much
of that is there before the pass. `speed` is the median of several passes at 100 residues, relative to frame_attention.
Each part writes its own JSON.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from protgen import registry
from protgen.cli.train_config import choices, load_config
from protgen.encoders.base import Encoder
from protgen.spaces.backbone import Backbone
from protgen.types import Conditioning

RESIDUE, WHOLE = 10, 8  # widths of the conditioning
PASSES = 7


def build(name: str, **keywords: object) -> Encoder:
    return registry.build("encoders", name, residue_dim=RESIDUE, whole_dim=WHOLE, **keywords)


def count(encoder: Encoder) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())


def configured(name: str) -> dict:
    """Keywords of the encoder's configuration file."""
    config = load_config([f"encoder={name}", "data.store=none", "run=none"]).model["encoder"]
    return {key: value for key, value in config.items() if key != "name"}


def sized(name: str, parameters: int) -> dict:
    """The width, a multiple of 8, that brings an encoder with its configuration nearest to a number of parameters."""
    keywords = configured(name)
    widths = range(32, 321, 8)
    low, high = 0, len(widths) - 1
    while high - low > 1:
        middle = (low + high) // 2
        bigger = count(build(name, **keywords | {"dim": widths[middle]})) > parameters
        low, high = (low, middle) if bigger else (middle, high)
    sizes = {dim: count(build(name, **keywords | {"dim": dim})) for dim in (widths[low], widths[high])}
    return keywords | {"dim": min(sizes, key=lambda dim: abs(sizes[dim] - parameters))}


def peak_mb() -> float:
    """Peak resident memory of this process in MB (getrusage counts kB on Linux, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def one_pass(name: str, keywords: dict, length: int, seed: int, passes: int) -> dict:
    """Forward and backward of one chain; what the parent process asks of its child."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    encoder = build(name, **keywords)
    rng = torch.Generator().manual_seed(seed)
    mask = torch.ones(1, length, dtype=torch.bool)
    space = Backbone()
    state, estimate = (space.noise(mask, torch.randn(1, length, 7, generator=rng)) for _ in range(2))
    cond = Conditioning(torch.randn(1, length, RESIDUE, generator=rng), torch.randn(1, WHOLE, generator=rng))
    before, seconds = peak_mb(), []
    for _ in range(passes):
        start = time.process_time()
        features = encoder(state, torch.full((1,), 0.5), cond, estimate)
        (features.scalars.square().mean() + features.vectors.square().mean()).backward()
        seconds.append(time.process_time() - start)
    return {
        "keywords": keywords,
        "parameters": count(encoder),
        "peak MB": round(peak_mb()),
        "MB before the pass": round(before),
        "CPU seconds": round(statistics.median(seconds), 3),
    }


def in_own_process(name: str, keywords: dict, length: int, seed: int, passes: int) -> dict:
    """The same, asked of a new interpreter: getrusage of a forked one would start at the memory of this one."""
    order = json.dumps([name, keywords, length, seed, passes])
    done = subprocess.run([sys.executable, __file__, "--one-pass", order], capture_output=True, text=True, check=False)
    if done.returncode != 0:  # out of memory, most likely
        return {"keywords": keywords, "failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def memory(names: list[str], options: argparse.Namespace) -> dict:
    """Peak memory of each encoder at one length, as configured and at equal parameters."""
    table = {}
    for name in names:
        for label, keywords in (("configured", configured(name)), ("equal", sized(name, options.parameters))):
            row = in_own_process(name, keywords, options.length, options.seed, passes=1)
            row.pop("CPU seconds", None)  # of a first pass alone: no measure of speed
            table.setdefault(label, {})[name] = row
            print(label, name, row, flush=True)
    return {"length": options.length, **table}


def speed(names: list[str], options: argparse.Namespace) -> dict:
    """Median CPU seconds of a pass at 100 residues and equal parameters, and relative to frame_attention."""
    names = ["frame_attention", *[name for name in names if name != "frame_attention"]]
    table: dict[str, dict] = {}
    for name in names:
        row = in_own_process(name, sized(name, options.parameters), 100, options.seed, PASSES)
        row["relative"] = round(row["CPU seconds"] / (table or {name: row})["frame_attention"]["CPU seconds"], 2)
        table[name] = row
        print(name, row, flush=True)
    return {"length": 100, "passes": PASSES, "equal": table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--parts", default="memory,speed")
    parser.add_argument("--names", default=None, help="encoders of backbones; all of them by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--length", type=int, default=1000)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--one-pass", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_pass is not None:
        print(json.dumps(one_pass(*json.loads(options.one_pass))))
        return
    if options.out is None:
        parser.error("give --out FOLDER")
    known = [name for name in choices("encoder") if "trans" in build(name, dim=32).reads]
    names = options.names.split(",") if options.names else known
    options.out.mkdir(parents=True, exist_ok=True)
    for part in options.parts.split(","):
        result = {
            "command": f"python benchmarks/encoders.py --out OUT --parts {part} --names {','.join(names)} "
            f"--seed {options.seed} --length {options.length} --parameters {options.parameters}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
            **{"memory": memory, "speed": speed}[part](names, options),
        }
        (options.out / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Memory of the encoders on a long chain, and memory and CPU time side by side at equal parameters.

    python benchmarks/encoders.py --out benchmarks/results/encoders [--parts memory,scaling] [--seed 0]
        [--lengths 100,250,500,1000] [--parameters 1000000] [--names egnn,frame_attention:neighbours=32]

Both parts run a forward and a backward pass over random backbone frames with an estimate for self-conditioning, in
float32 on one thread of a CPU, each encoder and length in a process of its own. `memory` takes the longest chain and
the encoder as its configuration in configs/encoder has it, and reports the peak resident memory of the process and how
much of that is there before the pass; the bar for graph encoders is 4 GB at 1,000 residues. `scaling` takes the width
that brings each encoder nearest to the parameters, and reports the same memory and the median CPU seconds of a pass at
each length (time of the process, not of the wall), with the exponents of growth to the longest chain from the second
longest and from the shortest: 1 is linear. `forward` is the pass of a sampler, without gradients. Run it on a machine
that does nothing else. Each part writes its own JSON.
"""

import argparse
import json
import math
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
PASSES = 7  # of which the median is taken; fewer beyond LONG residues
LONG = 500
SEEN = 100  # MB of a pass, below which the peak of loading the libraries hides it
BAR = 4096  # MB, forward and backward of 1,000 residues by a graph encoder


def build(name: str, **keywords: object) -> Encoder:
    return registry.build("encoders", name.partition(":")[0], residue_dim=RESIDUE, global_dim=WHOLE, **keywords)


def count(encoder: Encoder) -> int:
    return sum(parameter.numel() for parameter in encoder.parameters())


def configured(name: str) -> dict:
    """Keywords of the encoder's configuration file, one of them changed by a name such as `egnn:blocks=4`."""
    name, _, change = name.partition(":")
    changes = [f"encoder.{change}"] if change else []
    config = load_config([f"encoder={name}", *changes, "data.store=none", "run=none"]).model["encoder"]
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
    state, x_pred = (space.noise(mask, torch.randn(1, length, 7, generator=rng)) for _ in range(2))
    cond = Conditioning(torch.randn(1, length, RESIDUE, generator=rng), torch.randn(1, WHOLE, generator=rng))
    before, seconds, forward = peak_mb(), [], []
    for _ in range(passes):
        start = time.process_time()
        with torch.no_grad():
            encoder(state, torch.full((1,), 0.5), cond, x_pred)
        forward.append(time.process_time() - start)
    alone = peak_mb()
    for _ in range(passes):
        start = time.process_time()
        features = encoder(state, torch.full((1,), 0.5), cond, x_pred)
        (features.scalars.square().mean() + features.vectors.square().mean()).backward()
        seconds.append(time.process_time() - start)
    return {
        "keywords": keywords,
        "parameters": count(encoder),
        "peak MB": round(peak_mb()),
        "MB before the pass": round(before),
        "forward peak MB": round(alone),
        "CPU seconds": round(statistics.median(seconds), 3),
        "forward CPU seconds": round(statistics.median(forward), 3),
    }


def in_own_process(name: str, keywords: dict, length: int, seed: int, passes: int) -> dict:
    """The same, asked of a new interpreter: getrusage of a forked one would start at the memory of this one."""
    order = json.dumps([name, keywords, length, seed, passes])
    done = subprocess.run([sys.executable, __file__, "--one-pass", order], capture_output=True, text=True, check=False)
    if done.returncode != 0:  # out of memory, most likely
        return {"keywords": keywords, "failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def memory(names: list[str], lengths: list[int], options: argparse.Namespace) -> dict:
    """Peak memory of each encoder as configured, at the longest chain."""
    table = {}
    for name in names:
        row = in_own_process(name, configured(name), lengths[-1], options.seed, passes=1)
        row = {key: value for key, value in row.items() if "seconds" not in key}  # of a first pass: no measure of speed
        row["under the bar"] = "failed" not in row and row["peak MB"] < BAR
        table[name] = row
        print(name, row, flush=True)
    return {"length": lengths[-1], "bar MB": BAR, "configured": table}


def scaling(names: list[str], lengths: list[int], options: argparse.Namespace) -> dict:
    """Memory and CPU seconds of a pass at equal parameters, length by length, and how they grow."""
    table: dict[str, dict] = {}
    for name in names:
        keywords = sized(name, options.parameters)
        rows = {}
        for length in lengths:
            passes = PASSES if length <= LONG else 3
            rows[length] = in_own_process(name, keywords, length, options.seed, passes)
            print(name, length, rows[length], flush=True)
        table[name] = {"keywords": keywords, "lengths": rows, "growth": growth(rows)}
    return {"parameters": options.parameters, "passes": PASSES, "equal": table}


def growth(rows: dict[int, dict]) -> dict[str, dict[str, float]]:
    """Exponents of memory (of the pass alone) and time to the longest chain, from the second longest and shortest."""
    good = [length for length, row in rows.items() if "failed" not in row]
    values = {
        "memory": lambda row: row["peak MB"] - row["MB before the pass"],
        "CPU seconds": lambda row: row["CPU seconds"],
        "forward CPU seconds": lambda row: row["forward CPU seconds"],
    }
    found = {}
    for short, long in {(good[-2], good[-1]), (good[0], good[-1])} if len(good) > 1 else ():
        found[f"{short} to {long}"] = {
            name: round(math.log(value(rows[long]) / value(rows[short])) / math.log(long / short), 2)
            for name, value in values.items()
            if name != "memory" or value(rows[short]) >= SEEN
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--parts", default="memory,scaling")
    parser.add_argument("--names", default=None, help="encoders of backbones; all of them by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lengths", default="100,250,500,1000", help="residues")
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
    lengths = sorted(int(length) for length in options.lengths.split(","))
    options.out.mkdir(parents=True, exist_ok=True)
    for part in options.parts.split(","):
        result = {
            "command": f"python benchmarks/encoders.py --out OUT --parts {part} --names {','.join(names)} "
            f"--seed {options.seed} --lengths {options.lengths} --parameters {options.parameters}",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
            **{"memory": memory, "scaling": scaling}[part](names, lengths, options),
        }
        (options.out / f"{part}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

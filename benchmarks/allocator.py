"""What it saves to keep freed memory (`protgen.allocator`): page faults and CPU seconds of a run of four designs.

    python benchmarks/allocator.py --out benchmarks/results/allocator.json [--rounds 3] [--model flow-pairing]

Each round makes four designs of 100 residues twice, in processes of one torch thread that take turns: with memory kept,
and as glibc has it by itself, which an empty setting of its own (`GLIBC_TUNABLES`) brings back. The medians of the
rounds are reported. The machine should be idle.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from protgen.allocator import OWN
from protgen.atomic import write_text
from protgen.conditions.length import Length
from protgen.generation.generate import generate
from protgen.models.released import load

N, RESIDUES = 4, 100
UNCHANGED = {"GLIBC_TUNABLES": "glibc.malloc.perturb=0"}  # a setting of the user, by which all stays as it is


def one_run(model: str, seed: int) -> dict[str, float]:
    """The cost of one run, in this process."""
    torch.set_num_threads(1)
    loaded = load(model)
    list(generate(loaded, [Length(60)], 1, seed))  # what is loaded and built at first use
    faults, begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
    list(generate(loaded, [Length(RESIDUES)], N, seed))
    spent, used = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF)
    return {"CPU s a design": spent / N, "page faults": used.ru_minflt - faults, "peak MB": used.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", default="flow-pairing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one-run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_run:
        print(json.dumps(one_run(options.model, options.seed)))
        return
    if options.out is None:
        parser.error("give --out FILE")
    plain = {name: value for name, value in os.environ.items() if name not in OWN}
    found: dict[str, list[dict[str, float]]] = {"kept": [], "as glibc has it": []}
    for number in range(options.rounds):
        order = [sys.executable, __file__, "--one-run", "--model", options.model, "--seed", str(options.seed + number)]
        for name, more in (("kept", {}), ("as glibc has it", UNCHANGED)):
            done = subprocess.run(order, env=plain | more, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    result = {
        "command": f"python benchmarks/allocator.py --model {options.model} --rounds {options.rounds}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "n": N,
        "residues": RESIDUES,
        **{name: {key: round(median(row[key] for row in rows), 3) for key in rows[0]} for name, rows in found.items()},
    }
    print(json.dumps(result))
    write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What a design costs: CPU seconds by model and length, and the whole command for one design.

    python benchmarks/sampling_speed.py --out benchmarks/results/sampling_speed.json [--models flow-small,flow-pairing]
        [--lengths 64,100,128] [--rounds 5] [--seed 0]

Each round makes one default design of each length by each model, one after another, on one torch thread, so that what
slows the machine for a while slows all of them; the median of the rounds is reported. Then `protgen sample --length 80
-n 1` is run as often, a whole process with its pages and pictures: seconds by the clock, and of CPU. The machine should
be idle. Its speed stands beside: products of 1,024 x 1,024 matrices in fp32 on one thread, and ten million turns of a
Python loop.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from protgen.conditions.length import Length
from protgen.generation.design import settings_for
from protgen.generation.generate import generate
from protgen.models.released import load

WHOLE = ("sample", "--length", "80", "-n", "1")


def cpu_seconds(models: list[str], lengths: list[int], rounds: int, seed: int) -> dict:
    """Median CPU seconds of a default design by model and length, and the settings it is made with."""
    torch.set_num_threads(1)
    loaded = {name: load(name) for name in models}
    for model in loaded.values():  # what is loaded and built at first use
        list(generate(model, [Length(40)], 1, seed))
    spent: dict[str, dict[int, list[float]]] = {name: {length: [] for length in lengths} for name in models}
    for number in range(rounds):
        for length in lengths:
            for name, model in loaded.items():
                begun = time.process_time()
                list(generate(model, [Length(length)], 1, seed + number))
                spent[name][length].append(time.process_time() - begun)
    result = {}
    for name, model in loaded.items():
        settings = settings_for(model)
        result[name] = {
            "steps": settings.steps,
            "guidance": settings.guidance,
            "autoguidance": settings.autoguidance,
            "CPU seconds": {str(length): round(median(values), 3) for length, values in spent[name].items()},
            "of each round": {
                str(length): [round(value, 3) for value in values] for length, values in spent[name].items()
            },
        }
    return result


def whole_command(rounds: int) -> dict:
    """Seconds of `protgen sample` for one design, by the clock and of CPU; the first run, which fills caches, apart."""
    clock, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            begun = time.perf_counter()
            command = [sys.executable, "-m", "protgen", *WHOLE, "--out", str(Path(folder, str(number)))]
            subprocess.run(command, check=True, capture_output=True)
            clock.append(round(time.perf_counter() - begun, 2))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2))
    return {
        "command": f"protgen {' '.join(WHOLE)} --out DIR",
        "seconds": median(clock[1:]),
        "CPU seconds": median(cpu[1:]),
        "of each run": clock[1:],
        "first run": clock[0],
    }


def machine_speed() -> dict:
    """How fast this machine is, on one thread."""
    a = torch.randn(1024, 1024)
    a @ a
    begun = time.perf_counter()
    for _ in range(20):
        a @ a
    products = 20 * 2 * 1024**3 / (time.perf_counter() - begun) / 1e9
    begun, total = time.perf_counter(), 0
    for i in range(10_000_000):
        total += i
    return {"GFLOP/s, fp32": round(products, 1), "10 M turns of a loop, s": round(time.perf_counter() - begun, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default="flow-small,flow-small-quick,flow-pairing,flow-base")
    parser.add_argument("--lengths", default="64,100,128")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lengths = [int(length) for length in options.lengths.split(",")]
    result = {
        "command": f"python benchmarks/sampling_speed.py --models {options.models} --lengths {options.lengths} "
        f"--rounds {options.rounds} --seed {options.seed}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "models": cpu_seconds(options.models.split(","), lengths, options.rounds, options.seed),
        "speed of one thread": machine_speed(),
        "one design, whole process": whole_command(options.rounds),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, row in result["models"].items():
        print(name, row["steps"], "steps", row["CPU seconds"])
    print(result["speed of one thread"], result["one design, whole process"])


if __name__ == "__main__":
    main()

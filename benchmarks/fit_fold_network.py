"""Train the network behind the fold embedding, fold score and fold divergence, on the CATH codes of native domains.

    python benchmarks/fit_fold_network.py CHAINS [--epochs 24] [--seed 0] [--tune]

CHAINS holds `index.csv` (columns file, split, cath) and the chains it lists. The training split is fitted; the accuracy
is that of the validation split, which shares no 40 % sequence cluster with it (nor, in this index, a superfamily).
`--tune` holds out every seventh training chain in its place and writes nothing: what settings are chosen by.

The finest classes are a partition: topologies (C.A.T) of `FEWEST_TOPOLOGY` training chains or more, the rest of each
architecture of `FEWEST_ARCHITECTURE` or more, and the rest of each class. Probabilities of coarser levels are sums.

Writes the weights (bfloat16) and their description into `protgen/metrics/reference/`, and the same figures into
`benchmarks/results/evaluation/fold_network.json`. One thread; the run takes some ten minutes of a CPU core.
"""

import argparse
import csv
import json
import platform
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from protgen.errors import StructureError
from protgen.metrics.fold_network import FoldNetwork
from protgen.metrics.tm import ca_trace
from protgen.structure.reader import read_structure

FEWEST_TOPOLOGY, FEWEST_ARCHITECTURE = 8, 15  # training chains
LEVELS = ("c", "a", "t")
BATCH = 24  # chains of like length
NOISE = 0.4  # Å, largest deviation of noise on the coordinates while training
SMOOTHING = 0.05  # of the labels
RATE, DECAY = 3e-3, 0.05


@dataclass(frozen=True)
class Domain:
    """One labelled chain: CA atoms (l, 3) Å, its CATH code, its split."""

    ca: np.ndarray
    cath: str
    split: str


def load(chains: Path) -> list[Domain]:
    with (chains / "index.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["cath"]]
    found = []
    for row in rows:
        try:
            ca = ca_trace(read_structure(chains / row["file"]))
        except StructureError:
            continue
        found.append(Domain(ca.astype(np.float32), row["cath"], row["split"]))
    return found


def code(cath: str, level: int) -> str:
    return ".".join(cath.split(".")[:level])


def finest_classes(domains: list[Domain]) -> list[str]:
    """The partition, sorted: "3.40.50", "3.40.*", "3.*"."""
    topologies = Counter(code(domain.cath, 3) for domain in domains)
    architectures = Counter(code(domain.cath, 2) for domain in domains)
    names = {f"{name}.*" for name in {code(domain.cath, 1) for domain in domains}}
    names |= {f"{name}.*" for name, count in architectures.items() if count >= FEWEST_ARCHITECTURE}
    return sorted(names | {name for name, count in topologies.items() if count >= FEWEST_TOPOLOGY})


def finest(cath: str, classes: list[str]) -> int:
    """The class of a CATH code."""
    options = (code(cath, 3), f"{code(cath, 2)}.*", f"{code(cath, 1)}.*")
    return classes.index(next(name for name in options if name in classes))


def coarser(classes: list[str], level: str) -> list[int]:
    """(k,) the class of each finest class at a level."""
    if level == "t":
        return list(range(len(classes)))
    names = [name.split(".")[0] if level == "c" else ".".join(name.split(".")[:2]) for name in classes]
    order = sorted(set(names))
    return [order.index(name) for name in names]


def collate(domains: list[Domain], rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Padded coordinates, mask and places, with noise if there is an `rng`."""
    longest = max(len(domain.ca) for domain in domains)
    ca, mask = np.zeros((len(domains), longest, 3), np.float32), np.zeros((len(domains), longest), bool)
    for k, domain in enumerate(domains):
        noise = 0.0
        if rng is not None:
            noise = rng.uniform(0, NOISE) * rng.normal(size=domain.ca.shape)
        ca[k, : len(domain.ca)], mask[k, : len(domain.ca)] = domain.ca + noise, True
    place = np.tile(np.arange(longest), (len(domains), 1))
    return torch.from_numpy(ca), torch.from_numpy(mask), torch.from_numpy(place)


def batches(domains: list[Domain], rng: np.random.Generator) -> list[np.ndarray]:
    """Indices of chains of like length, in random order, differently mixed each time."""
    keys = np.array([len(domain.ca) for domain in domains]) * rng.uniform(0.9, 1.1, size=len(domains))
    order = np.argsort(keys)
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [parts[k] for k in rng.permutation(len(parts))]


def level_losses(logits: Tensor, labels: Tensor, groups: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of the three levels, whose probabilities are sums of the finest."""
    total = torch.zeros(())
    for group in groups.values():
        n = int(group.max()) + 1
        shape = (len(logits), n)
        fraction = torch.zeros(shape).scatter_add_(1, group.expand(len(logits), -1), logits.softmax(dim=-1))
        total = total + nn.functional.nll_loss((fraction + 1e-6).log(), group[labels])
    smooth = -logits.log_softmax(dim=-1).mean()
    return total / len(groups) + SMOOTHING * smooth


def fit(domains: list[Domain], classes: list[str], epochs: int, seed: int, watch: list[Domain]) -> FoldNetwork:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = FoldNetwork(len(classes))
    groups = {level: torch.tensor(coarser(classes, level)) for level in LEVELS}
    labels = torch.tensor([finest(domain.cath, classes) for domain in domains])
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    total = epochs * -(-len(domains) // BATCH)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=total, pct_start=0.15)
    for epoch in range(epochs):
        start, losses = time.process_time(), []
        network.train()
        for part in batches(domains, rng):
            loss = level_losses(network(*collate([domains[k] for k in part], rng)), labels[part], groups)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rates.step()
            losses.append(loss.item())
        seen = accuracies(network.eval(), watch, classes) if (epoch + 1) % 4 == 0 else {}
        said = {level: round(value["accuracy"], 3) for level, value in seen.items()}
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {time.process_time() - start:.0f} s", said, flush=True)
    return network.eval()


@torch.no_grad()
def read(network: FoldNetwork, domains: list[Domain]) -> tuple[Tensor, Tensor]:
    """Raw embeddings and probabilities, one structure at a time as in use."""
    raw = torch.cat([network.raw(*collate([domain])) for domain in domains])
    return raw, network.classify((raw - network.centre) / network.std).softmax(dim=-1)


def accuracies(network: FoldNetwork, domains: list[Domain], classes: list[str]) -> dict[str, dict[str, float]]:
    """Fraction of right classes at each level, with its standard error, and the fraction of the most common class."""
    fraction = read(network, domains)[1]
    labels = torch.tensor([finest(domain.cath, classes) for domain in domains])
    result = {}
    for level in LEVELS:
        group = torch.tensor(coarser(classes, level))
        summed = torch.zeros(len(fraction), int(group.max()) + 1).scatter_add_(
            1, group.expand(len(fraction), -1), fraction
        )
        right = (summed.argmax(dim=1) == group[labels]).double().mean().item()
        most = torch.bincount(group[labels]).max().item() / len(labels)
        error = (right * (1 - right) / len(labels)) ** 0.5
        result[level] = {"accuracy": right, "standard_error": error, "of most common": most, "n": len(labels)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("protgen/metrics/reference"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/evaluation"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    domains = load(options.chains)
    fitted = [domain for domain in domains if domain.split == "train"]
    held_out = [domain for domain in domains if domain.split != "train"]
    classes = finest_classes(fitted)
    if options.tune:
        held_out = fitted[::7]
        fitted = [domain for k, domain in enumerate(fitted) if k % 7]
    network = fit(fitted, classes, options.epochs, options.seed, held_out)
    raw = read(network, fitted)[0]
    # Scaling the embedding and undoing it in the classifier leaves the probabilities as they are.
    rescale(network, raw.mean(dim=0), raw.std(dim=0))
    found = accuracies(network, held_out, classes)
    print(json.dumps(found, indent=1))
    if not options.tune:
        write(network, classes, found, options, len(fitted), time.process_time() - start)


@torch.no_grad()
def rescale(network: FoldNetwork, mean: Tensor, deviation: Tensor) -> None:
    """Make the embedding of mean 0 and deviation 1, and the classifier read it as before."""
    linear = network.classify[-1]
    assert isinstance(linear, nn.Linear)
    linear.bias += linear.weight @ mean
    linear.weight *= deviation
    network.centre.copy_(mean)
    network.std.copy_(deviation)


def write(
    network: FoldNetwork, classes: list[str], found: dict, options: argparse.Namespace, n: int, seconds: float
) -> None:
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, options.out / "fold_network.safetensors")
    (options.out / "fold_network.safetensors").chmod(0o644)  # written for its owner alone
    about = {
        "name": "protgen-fold-1",
        "classes": classes,
        "levels": {level: coarser(classes, level) for level in LEVELS},
        "settings": {"dim": 48, "layers": 3, "width": 32},
        "fitted_to": f"{n} native domains of the training split with CATH codes",
        "validation": found,
    }
    (options.out / "fold_network.json").write_text(json.dumps(about, indent=1) + "\n")
    result = {
        "command": f"python benchmarks/fit_fold_network.py CHAINS --epochs {options.epochs} --seed {options.seed}",
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
        "CPU seconds": seconds,
        "parameters": sum(tensor.numel() for tensor in network.parameters()),
        "n": n,
        "classes": {level: len(set(coarser(classes, level))) for level in LEVELS},
        "validation": found,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "fold_network.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

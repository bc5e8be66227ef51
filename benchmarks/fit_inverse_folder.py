"""Train our inverse folder, `graph_mpnn`, on native chains with their letters.

    python benchmarks/fit_inverse_folder.py CHAINS --run RUN [--steps 40000] [--minutes 60] [--seed 0]
    python benchmarks/fit_inverse_folder.py CHAINS --run RUN --write protgen/weights/graph-mpnn

CHAINS holds `index.csv` (columns file, length, split) and the chains it lists. The training split is fitted; the other
shares no 40 % sequence cluster with it. A run leaves its weights, their moving average and the optimizer's state in RUN
every two minutes and goes on from there when it is started again: the batches of step k depend on (seed, k) alone. The
rate is level up to `--cooldown` before the last step, so a run can be prolonged. `--write` stores the moving average in
bfloat16. `benchmarks/inverse_folding.py` measures what came of it.

One thread, bfloat16; about 1,500 residues a CPU second. Allocator settings that keep freed memory
(MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ of some hundred megabytes) save 15 % of it.
"""

import argparse
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from protgen.atomic import write_text
from protgen.errors import ProtgenError
from protgen.inverse_folding.graph_network import GraphNetwork, GraphShape
from protgen.inverse_folding.mpnn_features import Chains, nearest
from protgen.inverse_folding.network_input import LETTERS, UNKNOWN, atoms_for, numbering
from protgen.models.files import load_json, load_tensors, save_json, save_tensors
from protgen.structure.reader import read_structure
from protgen.structure.residue_names import ONE_LETTER
from protgen.training.ema import ExponentialMovingAverage
from protgen.training.optimizers import make_optimizer
from protgen.training.settings import TrainSettings

GRID = 0.01  # Å, to which coordinates are rounded: well below the noise
SHORTEST = 30  # residues with N, CA and C, so that each has as many neighbours as the network looks at
CHECKPOINT = 120.0  # s between checkpoints
WATCHED = 60  # validation chains that the curve is of


@dataclass(frozen=True)
class Natives:
    """Chains end to end.

    Attributes:
        atoms: (r, 4, 3) N, CA, C, O about the centre of the chain, in units of 0.01 Å.
        letters: (r,) by number.
        numbers: (r,) place in the chain.
        offsets: (n + 1,) where chains begin.
        training: (n,) whether a chain is of the training split.
    """

    atoms: Tensor
    letters: Tensor
    numbers: Tensor
    offsets: Tensor
    training: Tensor

    def lengths(self) -> Tensor:
        """(n,) residues of each chain."""
        return self.offsets.diff()


@dataclass(frozen=True)
class Batch:
    """Several chains as one graph: atoms (r, 4, 3) Å, letters (r,), neighbours (r, k) by place in the batch.

    `chosen` are the numbers of its chains, in the order of `chains.chain`.
    """

    atoms: Tensor
    letters: Tensor
    chains: Chains
    neighbours: Tensor
    chosen: list[int]


def read_natives(folder: Path) -> Natives:
    """Read the chains of an index; those that cannot be read, or are short, are left out."""
    with (folder / "index.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    atoms, letters, numbers, training = [], [], [], []
    for row in rows:
        try:
            protein = read_structure(folder / row["file"])
            protein = protein.select(np.asarray(protein.mask[:, :3].all(axis=1)))
            if protein.length < SHORTEST:
                continue
            xyz = atoms_for(protein, "fit")
        except ProtgenError:
            continue
        steps = np.round((xyz - xyz[:, 1].mean(axis=0)) / GRID)
        atoms.append(torch.from_numpy(steps.astype(np.int16)))
        names = [ONE_LETTER.get(name, "X") for name in protein.residue_names.tolist()]
        letters.append(torch.tensor([LETTERS.index(letter) for letter in names], dtype=torch.uint8))
        numbers.append(torch.from_numpy(numbering(protein)[0]).int())
        training.append(row["split"] == "train")
    offsets = torch.tensor([0, *np.cumsum([len(part) for part in letters])])
    return Natives(torch.cat(atoms), torch.cat(letters), torch.cat(numbers), offsets, torch.tensor(training))


def natives_of(folder: Path, run: Path) -> Natives:
    """The chains, kept in the folder of the run in one file, so that a run elsewhere needs no other."""
    path = run / "natives.safetensors"
    if not path.is_file():
        save_tensors(vars(read_natives(folder)), path)
    return Natives(**load_tensors(path))


def batch_of(natives: Natives, chosen: list[int], k: int, device: str) -> Batch:
    """Chains as one graph, each residue with its k nearest ones."""
    spans = [slice(int(natives.offsets[c]), int(natives.offsets[c + 1])) for c in chosen]
    lengths = natives.lengths()[chosen]
    starts = (lengths.cumsum(0) - lengths).tolist()
    atoms = [natives.atoms[span].to(device).float() * GRID for span in spans]
    neighbours = torch.cat([nearest(xyz[:, 1], k) + start for xyz, start in zip(atoms, starts, strict=True)])
    chain = torch.arange(len(chosen)).repeat_interleave(lengths)
    number = torch.cat([natives.numbers[span] for span in spans]).long()
    letters = torch.cat([natives.letters[span] for span in spans]).long()
    chains = Chains(number.to(device), chain.to(device))
    return Batch(torch.cat(atoms), letters.to(device), chains, neighbours, chosen)


def epoch_of(natives: Natives, residues: int, seed: int, epoch: int) -> list[list[int]]:
    """Chains of each batch of an epoch: all of the training split, in random order."""
    rng = np.random.default_rng([seed, epoch])
    lengths, batches, held = natives.lengths(), [[]], 0
    for c in rng.permutation(torch.nonzero(natives.training)[:, 0].numpy()).tolist():
        if batches[-1] and held + int(lengths[c]) > residues:
            batches.append([])
            held = 0
        batches[-1].append(c)
        held += int(lengths[c])
    return batches


def logits_of(network: GraphNetwork, batch: Batch, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits (r, 21) in a random order of decoding, of atoms with noise, and the place (r,) of residues in it."""
    device = batch.atoms.device
    atoms = batch.atoms + noise * torch.randn(batch.atoms.shape, generator=generator).to(device)
    rank = torch.rand(len(atoms), generator=generator).to(device)
    before = rank[batch.neighbours] < rank[:, None]
    encoded = network.encode(atoms, batch.chains, batch.neighbours)
    return network(encoded, batch.letters, before).float(), rank


def loss_of(network: GraphNetwork, batch: Batch, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the letters in a random order of decoding, nats a residue, and the logits."""
    logits, _ = logits_of(network, batch, noise, generator)
    return F.cross_entropy(logits, batch.letters, ignore_index=UNKNOWN), logits


@torch.no_grad()
def watch(network: GraphNetwork, natives: Natives, device: str) -> dict[str, float]:
    """Loss and fraction of right letters of some validation chains, each letter given those before it in its order."""
    network.eval()
    generator = torch.Generator().manual_seed(0)
    total = right = count = 0.0
    for c in torch.nonzero(~natives.training)[:WATCHED, 0].tolist():
        batch = batch_of(natives, [c], network.shape.k, device)
        loss, logits = loss_of(network, batch, 0.0, generator)
        known = batch.letters != UNKNOWN
        total += loss.item() * int(known.sum())
        right += int((logits.argmax(-1) == batch.letters)[known].sum())
        count += int(known.sum())
    network.train()
    return {"validation_loss": round(total / count, 4), "validation_right": round(right / count, 4)}


class Run:
    """A training run with its state.

    Args:
        folder: of the run.
        shape: of the network.
        options: of the command line.
    """

    def __init__(self, folder: Path, shape: GraphShape, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        torch.manual_seed(options.seed)
        self.network = GraphNetwork(shape, options.dropout).to(options.device)
        settings = TrainSettings(lr=options.rate / 3, muon_lr=options.rate, weight_decay=options.decay)
        self.optimizer = make_optimizer(self.network, settings, (0.9, 0.98))
        self.ema = ExponentialMovingAverage(self.network, 0.999)
        self.step = 0
        self.seconds = 0.0
        if (folder / "state.json").is_file():
            self.load()

    def scale(self) -> float:
        """Learning rate of this step, in units of the peak."""
        left = (self.options.steps - self.step) / max(1, self.options.cooldown)
        return min(1.0, (self.step + 1) / self.options.warmup, max(left, 0.0))

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """What is minimised, nats a residue."""
        return loss_of(self.network, batch, self.options.noise, generator)[0]

    def watch(self, natives: Natives) -> dict[str, float]:
        """Figures of a validation."""
        return watch(self.network, natives, self.options.device)

    def advance(self, batch: Batch) -> float:
        """One step; its loss."""
        seed = self.options.seed * 1_000_003 + self.step
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # of the dropout
        with torch.autocast(self.options.device, torch.bfloat16):
            loss = self.loss(batch, generator)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate / 3 * group["scale"] * self.scale()
        self.optimizer.step()
        self.ema.update(self.network)
        self.step += 1
        return loss.item()

    def save(self) -> None:
        """Write the state of the run; the file of facts comes last."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average/{name}": value for name, value in self.ema.shadow.items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
        save_tensors(tensors, self.folder / "state.safetensors")
        facts = {"step": self.step, "updates": self.ema.updates, "CPU seconds": round(self.seconds)}
        save_json(facts, self.folder / "state.json")

    def load(self) -> None:
        """Go on from the state of the folder."""
        read = load_tensors(self.folder / "state.safetensors")
        tensors = {name: value.to(self.options.device) for name, value in read.items()}
        facts = load_json(self.folder / "state.json")
        self.step, self.ema.updates, self.seconds = facts["step"], facts["updates"], facts["CPU seconds"]
        self.network.load_state_dict(part_of(tensors, "network/"))
        self.ema.shadow = part_of(tensors, "average/")
        for name, parameter in self.network.named_parameters():
            state = part_of(tensors, f"optimizer/{name}/")
            if state:
                self.optimizer.state[parameter].update(state)


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin so, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def train(run: Run, natives: Natives) -> None:
    """Train until the last step or minute; a line of the curve every 50 steps."""
    options = run.options
    run.network.train()
    batches = epoch_of(natives, options.residues, options.seed, 0)
    n = len(batches)  # epochs differ by a batch or two: each is cut to as many as the first had
    begun, spent, saved, losses = time.process_time(), run.seconds, time.monotonic(), []
    epoch = 0
    while run.step < options.steps and time.process_time() - begun < 60 * options.minutes:
        if run.step // n != epoch:
            epoch = run.step // n
            batches = epoch_of(natives, options.residues, options.seed, epoch)
        chosen = batches[min(run.step % n, len(batches) - 1)]
        losses.append(run.advance(batch_of(natives, chosen, run.network.shape.k, options.device)))
        run.seconds = spent + time.process_time() - begun
        if run.step % 50 == 0:
            line = {"step": run.step, "epoch": round(run.step / n, 3), "loss": round(float(np.mean(losses)), 4)}
            losses = []
            if run.step % options.watch == 0:
                with run.ema.applied(run.network):
                    line |= run.watch(natives)
            print(json.dumps(line | {"CPU seconds": round(run.seconds)}), flush=True)
        if time.monotonic() - saved > CHECKPOINT:
            run.save()
            saved = time.monotonic()
    run.save()


def write(run: Run, natives: Natives, folder: Path) -> None:
    """Store the moving average in bfloat16, with what it is."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(torch.bfloat16) for name, value in run.ema.shadow.items()}
    save_tensors(weights, folder / "network.safetensors")
    options = {key: getattr(run.options, key) for key in ("seed", "residues", "rate", "decay", "dropout", "noise")}
    about = {
        "chains": int(natives.training.sum()),
        "residues": int(natives.lengths()[natives.training].sum()),
        "steps": run.step,
        "CPU seconds": round(run.seconds),
        "settings": options,
    }
    write_text(folder / "network.json", json.dumps({"shape": run.network.shape.to_json(), "about": about}, indent=1))


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """The options of a training."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chains", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--minutes", type=float, default=1e9, help="of CPU time of this process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--residues", type=int, default=1_024, help="of a batch, at most")
    parser.add_argument("--rate", type=float, default=6e-3, help="of Muon; a third of it for AdamW")
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--noise", type=float, default=0.05, help="of the coordinates, Å")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--cooldown", type=int, default=8_000, help="steps over which the rate falls to 0")
    parser.add_argument("--watch", type=int, default=500, help="steps between validations")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--write", type=Path, help="folder for the weights; trains no further")
    return parser


def main() -> None:
    options = parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options.run.mkdir(parents=True, exist_ok=True)
    shape = GraphShape()
    natives = natives_of(options.chains, options.run)
    run = Run(options.run, shape, options)
    if options.write:
        write(run, natives, options.write)
    else:
        train(run, natives)


if __name__ == "__main__":
    main()

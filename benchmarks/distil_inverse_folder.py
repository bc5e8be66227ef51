"""Teach our inverse folder, `graph_mpnn`, what ProteinMPNN thinks of designs, with natives beside.

    protgen sample -n 600 --seed 100000 ... -o DESIGNS
    python benchmarks/distil_inverse_folder.py CHAINS --designs DESIGNS [DESIGNS ...] --run RUN [--start WEIGHTS]
        [--steps 1500] [--rate 2e-3] [--cooldown 525] [--noise 0.05]
    python benchmarks/distil_inverse_folder.py CHAINS --designs DESIGNS --run RUN --write WEIGHTS

A network that has seen natives alone judges backbones that no native has by what it makes up. ProteinMPNN draws four
sequences for each design, two at temperature 0.1, the others at 0.2 and 0.4; on these our network learns ProteinMPNN's
probabilities of all letters at temperature 1, in the same random order of decoding (Hinton et al. 2015,
arXiv:1503.02531, eq. 2 at T = 1). Chains of the training split keep the letters of their files. Both are in each batch.

Every twentieth design is held out: `validation_teacher` is the divergence KL(ProteinMPNN || ours) on these in nats a
residue, beside the loss on natives. The settings of a run are those of `fit_inverse_folder.py`; `--start` are the
weights to begin with, by default those of the package.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fit_inverse_folder import (
    GRID,
    Batch,
    Natives,
    Run,
    batch_of,
    logits_of,
    natives_of,
    parser_of,
    train,
    watch,
    write,
)
from torch import Tensor

from protgen.evaluation.collect import collect_files
from protgen.inverse_folding.graph_mpnn import OWN, SHAPE, WEIGHTS, read_network
from protgen.inverse_folding.mpnn_features import Chains
from protgen.inverse_folding.mpnn_network import ProteinMPNNNetwork
from protgen.inverse_folding.network_input import LETTERS, UNKNOWN, atoms_for, letters_of, numbering
from protgen.inverse_folding.proteinmpnn import ProteinMPNN
from protgen.models.files import load_tensors, save_tensors
from protgen.structure.reader import read_structure
from protgen.training.ema import ExponentialMovingAverage

TEMPERATURES = (0.1, 0.1, 0.2, 0.4)
HELD_OUT = 20  # one design in so many


def draw_designs(folders: list[Path]) -> Natives:
    """The backbones of folders, each once with every sequence that ProteinMPNN draws for it; of them every twentieth
    is no training chain."""
    teacher = ProteinMPNN()
    atoms, letters, numbers, training = [], [], [], []
    for k, (_, path) in enumerate(collect_files(folders)):
        protein = read_structure(path)
        xyz = atoms_for(protein, "distil")
        steps = torch.from_numpy(np.round((xyz - xyz[:, 1].mean(axis=0)) / GRID).astype(np.int16))
        for draw, temperature in enumerate(TEMPERATURES):
            drawn = teacher.at_temperature(temperature).design(protein, 1, len(TEMPERATURES) * k + draw)
            atoms.append(steps)
            letters.append(letters_of(protein, drawn[0]).to(torch.uint8))
            numbers.append(torch.from_numpy(numbering(protein)[0]).int())
            training.append(k % HELD_OUT != 0)
    offsets = torch.tensor([0, *np.cumsum([len(part) for part in letters])])
    return Natives(torch.cat(atoms), torch.cat(letters), torch.cat(numbers), offsets, torch.tensor(training))


def designs_of(folders: list[Path], run: Path) -> Natives:
    """Designs with their sequences, kept in the folder of the run."""
    path = run / "designs.safetensors"
    if not path.is_file():
        save_tensors(vars(draw_designs(folders)), path)
    return Natives(**load_tensors(path))


def joined(natives: Natives, designs: Natives) -> Natives:
    """Natives, and then designs."""
    parts = {
        name: torch.cat([value, vars(designs)[name]]) for name, value in vars(natives).items() if name != "offsets"
    }
    return Natives(**parts, offsets=torch.cat([natives.offsets, natives.offsets[-1] + designs.offsets[1:]]))


@torch.no_grad()
def opinion(teacher: ProteinMPNNNetwork, batch: Batch, rank: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Probabilities (r, 21) that are to be learned, those of designs by ProteinMPNN, and which residues (r,) count.

    Args:
        teacher: ProteinMPNN.
        batch: chains.
        rank: (r,) the place of each residue in the order of decoding.
        first: number of the first chain that is a design.
    """
    wanted = F.one_hot(batch.letters, len(LETTERS)).float()
    for place, number in enumerate(batch.chosen):
        if number < first:
            continue
        rows = torch.nonzero(batch.chains.chain == place)[:, 0]
        own = rank[rows]
        encoded = teacher.encode(batch.atoms[rows], Chains(batch.chains.number[rows], torch.zeros_like(rows)))
        before = own[encoded.neighbours] < own[:, None]
        wanted[rows] = teacher(encoded, batch.letters[rows], before).softmax(-1)
    return wanted, batch.letters != UNKNOWN


class Pupil(Run):
    """A run that begins with weights and hears a teacher.

    Args:
        folder: of the run.
        start: folder of the weights to begin with.
        options: of the command line.
        first: number of the first chain that is a design.
    """

    def __init__(self, folder: Path, start: Path, options: argparse.Namespace, first: int) -> None:
        network = read_network(start / WEIGHTS, start / SHAPE)
        super().__init__(folder, network.shape, options)
        self.first = first
        self.teacher = ProteinMPNN().network()
        if self.step == 0:
            self.network.load_state_dict(network.state_dict())
            self.ema = ExponentialMovingAverage(self.network, 0.999)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Cross-entropy with the letters of natives and the teacher's probabilities for designs."""
        logits, rank = logits_of(self.network, batch, self.options.noise, generator)
        with torch.autocast(self.options.device, enabled=False):
            wanted, counted = opinion(self.teacher, batch, rank, self.first)
        return F.cross_entropy(logits[counted], wanted[counted])

    @torch.no_grad()
    def watch(self, natives: Natives) -> dict[str, float]:
        """Loss on natives, and the divergence from the teacher on designs that are held out."""
        figures = watch(self.network, natives, self.options.device)
        self.network.eval()
        generator, total, count = torch.Generator().manual_seed(0), 0.0, 0
        for c in range(self.first, len(natives.training)):
            if natives.training[c]:
                continue
            batch = batch_of(natives, [c], self.network.shape.k, self.options.device)
            logits, rank = logits_of(self.network, batch, 0.0, generator)
            wanted, _ = opinion(self.teacher, batch, rank, self.first)
            total += F.kl_div(logits.log_softmax(-1), wanted, reduction="sum").item()
            count += len(wanted)
        self.network.train()
        return figures | {"validation_teacher": round(total / max(count, 1), 4)}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--designs", type=Path, nargs="+", required=True)
    parser.add_argument("--start", type=Path, default=OWN)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    options.run.mkdir(parents=True, exist_ok=True)
    natives, designs = natives_of(options.chains, options.run), designs_of(options.designs, options.run)
    both = joined(natives, designs)
    run = Pupil(options.run, options.start, options, len(natives.training))
    if options.write:
        write(run, natives, options.write)
        taught = {"teacher": "ProteinMPNN v_48_020", "designs": int(designs.training.sum()) // len(TEMPERATURES)}
        path = options.write / SHAPE
        facts = json.loads(path.read_text())
        facts["about"] |= taught | {"start": json.loads((options.start / SHAPE).read_text())["about"]}
        path.write_text(json.dumps(facts, indent=1))
    else:
        if run.step == 0:
            print(json.dumps({"step": 0} | run.watch(both)), flush=True)
        train(run, both)


if __name__ == "__main__":
    main()

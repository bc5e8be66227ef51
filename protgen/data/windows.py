"""Which stretches of a chain a store keeps: the whole chain or compact crops, without breaks and not all coil."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from protgen.data.crops import compact_crops
from protgen.data.units import PEPTIDE
from protgen.structure.dssp import dssp, to_labels
from protgen.structure.links import links
from protgen.structure.protein import CA, Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.trace import radius_of_gyration

if TYPE_CHECKING:
    from protgen.types import JSON


@dataclass(frozen=True)
class Filters:
    """What a structure must be to be kept.

    Attributes:
        min_length, max_length: residues; longer chains are cropped.
        max_coil: largest fraction of residues that are neither helix nor strand.
        rg_percentile: items of a larger Rg than this percentile of natives of their length are extended, and dropped;
            100 keeps all.
        max_resolution: Å; chains of unknown resolution are kept.
        crops: compact crops taken from each longer chain at the most, 0 for none.
        validation_fraction: fraction of clusters held out where the input names no split.
    """

    min_length: int = 40
    max_length: int = 128
    max_coil: float = 0.5
    rg_percentile: float = 96.0
    max_resolution: float = 4.0
    crops: int = 3
    validation_fraction: float = 0.04


@dataclass(frozen=True)
class Window:
    """A stretch of a chain that becomes an item.

    Attributes:
        start, stop: among the complete residues of the chain.
        labels: (stop - start,) uint8 secondary structure.
        facts: for the manifest: length, rg, helix, strand, resolution; of several parts their number too, and of a
            complex the names of its chains.
    """

    start: int
    stop: int
    labels: np.ndarray
    facts: "JSON"


def windows_of(
    name: str, protein: Protein, filters: Filters, parts: np.ndarray | None = None
) -> tuple[list[Window], str]:
    """The stretches of a chain that pass the filters, and the reason where there are none.

    Args:
        name: of the chain, from which the order of crop lengths is drawn.
        protein: the chain as it was read.
        filters: what to keep.
        parts: (l,) number of the part of each residue; None for one chain.
    """
    stretches, reason = stretches_of(name, protein, filters, parts)
    own = None if parts is None else parts[np.asarray(protein.mask[:, :4].all(axis=1))]
    protein = complete_residues(protein)
    found = []
    for start, stop in stretches:
        window = window_of(protein, start, stop)
        if own is not None:
            window.facts.update(parts_in_words(protein, own))
        coil = float((window.labels == 0).mean())
        if coil > filters.max_coil:
            reason = f"coil {coil:.2f} > {filters.max_coil}"
            continue
        found.append(window)
    return found, "" if found else reason


def parts_in_words(protein: Protein, parts: np.ndarray) -> "JSON":
    """Of an item of several parts: how many there are, and the names of its chains where they are chains."""
    count = len(np.unique(parts))
    chains = {"chains": list(protein.chains)} if len(protein.chains) > 1 else {}
    return {"parts": count, **chains} if count > 1 else {}


def stretches_of(
    name: str, protein: Protein, filters: Filters, parts: np.ndarray | None = None
) -> tuple[list[tuple[int, int]], str]:
    """The stretches (start, stop) of a chain's complete residues to keep, or none and the reason.

    A chain that is short enough is kept whole; a longer one gives compact crops. What has several parts is whole or
    nothing.

    Args:
        name: of the chain.
        protein: the chain as it was read.
        filters: what to keep.
        parts: (l,) number of the part of each residue; None for one chain.
    """
    if protein.length < filters.min_length:
        kind = "peptide, " if protein.length < PEPTIDE else ""
        return [], f"{kind}length {protein.length} < {filters.min_length}"
    inside = None if parts is None else joined(protein, parts)
    protein = complete_residues(protein)
    backbone = protein.backbone.astype(np.float32)
    if len(backbone) < filters.min_length:
        return [], f"length {len(backbone)} < {filters.min_length} without incomplete residues"
    if inside is not None and len(backbone) > filters.max_length:
        return [], f"length {len(backbone)} > {filters.max_length}; items of several chains or segments are not cropped"
    if inside is None and len(protein.chains) > 1:
        return [], f"{len(protein.chains)} chains in one unit; take them apart (--units chain), or name one (--chain)"
    breaks = links(protein).broken if inside is None else links(protein).broken & inside
    if len(backbone) <= filters.max_length:
        return ([], f"{int(breaks.sum())} chain breaks") if breaks.any() else ([(0, len(backbone))], "")
    lengths = crop_lengths(name, filters)
    windows = compact_crops(backbone[:, CA], breaks, lengths, filters.crops) if filters.crops else []
    if windows:
        return windows, ""
    return [], f"length {len(backbone)} > {filters.max_length}" + (", no compact crop" if filters.crops else "")


def joined(protein: Protein, parts: np.ndarray) -> np.ndarray:
    """(n - 1,) whether two consecutive complete residues are of one part."""
    own = parts[np.asarray(protein.mask[:, :4].all(axis=1))]
    return own[1:] == own[:-1]


def window_of(protein: Protein, start: int, stop: int) -> Window:
    """A stretch of a chain of complete residues, labelled and measured."""
    atoms = protein.backbone.astype(np.float32)[start:stop]
    labels = to_labels(np.array(list(dssp(protein.select(np.arange(start, stop))))))
    facts = {
        "length": int(stop - start),
        "rg": round(radius_of_gyration(atoms[:, CA]), 3),
        "helix": round(float((labels == 1).mean()), 3),
        "strand": round(float((labels == 2).mean()), 3),
        "resolution": protein.resolution,
    }
    return Window(start, stop, labels, facts)


def crop_lengths(name: str, filters: Filters) -> tuple[int, ...]:
    """Window lengths of a chain's crops, in an order drawn by its name so that all lengths are seen alike."""
    lengths = [n for n in range(56, filters.max_length + 1, 8) if n >= filters.min_length] or [filters.max_length]
    return tuple(sorted(lengths, key=lambda n: hashlib.sha256(f"{name} {n}".encode()).digest()))


def complete_residues(protein: Protein) -> Protein:
    """The residues that have all of N, CA, C and O."""
    complete = np.asarray(protein.mask[:, :4].all(axis=1))
    return protein if complete.all() else protein.select(complete)


def residue_types(names: np.ndarray | Sequence[str]) -> np.ndarray:
    """(l,) uint8 places of three-letter names in ARNDCQEGHILKMFPSTWYV; 20 for a name that is not among the standard."""
    places = {name: place for place, name in enumerate(STANDARD)}
    return np.array([places.get(str(name), len(STANDARD)) for name in names], dtype=np.uint8)

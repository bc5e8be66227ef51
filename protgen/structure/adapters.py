"""Bridges to Bio.PDB and mdtraj; each is imported only when its function is called. mdtraj's nm end here."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from protgen.errors import StructureError
from protgen.structure.protein import ATOM_NAMES, Protein
from protgen.structure.residue_names import STANDARD, UNKNOWN, parent

A_PER_NM = 10.0


def to_biopython(protein: Protein) -> Any:
    """A Bio.PDB `Structure` with one model, its chains, residue ids and insertion codes.

    Args:
        protein: what to convert; missing atoms are left out.

    Raises:
        StructureError: if two residues share an id, which Bio.PDB does not allow.
    """
    from Bio.PDB.Atom import Atom
    from Bio.PDB.Chain import Chain
    from Bio.PDB.Model import Model
    from Bio.PDB.Residue import Residue
    from Bio.PDB.Structure import Structure

    structure, model = Structure(protein.name), Model(0)
    structure.add(model)
    serial = 0
    for i in range(protein.length):
        chain_id = str(protein.chain_ids[i])
        if chain_id not in model:
            model.add(Chain(chain_id))
        residue_id = (" ", int(protein.residue_numbers[i]), str(protein.insertion_codes[i]) or " ")
        if residue_id in model[chain_id]:
            raise StructureError(f"{protein.name}: two residues are called {chain_id} {residue_id[1]}; renumber")
        residue = Residue(residue_id, str(protein.residue_names[i]), " ")
        for j in np.flatnonzero(protein.mask[i]).tolist():
            serial += 1
            name, xyz = ATOM_NAMES[j], protein.atoms[i, j].astype(np.float32)
            residue.add(Atom(name, xyz, 0.0, 1.0, " ", f" {name:<3}", serial, element=name[0]))
        model[chain_id].add(residue)
    return structure


def from_biopython(entity: Any, *, name: str | None = None) -> Protein:
    """The amino acids of a Bio.PDB structure (its first model), model, chain or residue list.

    Args:
        entity: from Bio.PDB.
        name: for the protein; the entity's id by default.

    Raises:
        StructureError: if there is no amino acid.
    """
    level = getattr(entity, "level", None)
    if level == "S":
        models = list(entity)
        entity_chains = list(models[0]) if models else []
    else:
        entity_chains = list(entity) if level == "M" else [entity]
    label = name or str(getattr(entity, "id", "protein")).strip() or "protein"
    rows = []
    for chain in entity_chains:
        for residue in chain:
            hetero, number, code = residue.id
            standard = parent(residue.get_resname().strip())
            if standard is None or hetero == "W":
                continue
            if hetero.strip() and "CA" not in residue:
                continue
            xyz = np.full((5, 3), np.nan)
            for j, atom_name in enumerate(ATOM_NAMES):
                if atom_name in residue and residue[atom_name].element in (atom_name[0], "", "X", None):
                    xyz[j] = residue[atom_name].coord
            parent_chain = residue.get_parent()
            chain_id = str(parent_chain.id if parent_chain is not None else "A").strip() or "A"
            rows.append((xyz, standard, chain_id, int(number), code.strip()))
    return _from_rows(rows, label)


def to_mdtraj(protein: Protein) -> Any:
    """An mdtraj `Trajectory` of one frame, in nm as mdtraj wants it.

    Insertion codes have no place in mdtraj and are lost.

    Args:
        protein: what to convert; missing atoms are left out.
    """
    import mdtraj

    topology = mdtraj.Topology()
    elements = {name: mdtraj.element.Element.getBySymbol(name[0]) for name in ATOM_NAMES}
    order = [i for chain in protein.chains for i in np.flatnonzero(protein.chain_ids == chain).tolist()]
    chain, last, xyz = None, None, []
    for i in order:
        if chain is None or protein.chain_ids[i] != last:
            last = protein.chain_ids[i]
            chain = topology.add_chain(chain_id=str(last))
        residue = topology.add_residue(str(protein.residue_names[i]), chain, resSeq=int(protein.residue_numbers[i]))
        for j in np.flatnonzero(protein.mask[i]).tolist():
            topology.add_atom(ATOM_NAMES[j], elements[ATOM_NAMES[j]], residue)
            xyz.append(protein.atoms[i, j])
    topology.create_standard_bonds()
    return mdtraj.Trajectory(np.array(xyz, dtype=np.float32).reshape(1, -1, 3) / A_PER_NM, topology)


def frames_to_mdtraj(frames: Sequence[Protein]) -> Any:
    """An mdtraj `Trajectory` of structures that have the same atoms; their order is that of the file of the first.

    Args:
        frames: one structure for each frame.

    Raises:
        StructureError: if there is none, or one has other atoms than the first.
    """
    import mdtraj

    if not frames:
        raise StructureError("a trajectory needs at least one frame")
    for frame in frames[1:]:
        if not (np.array_equal(frame.mask, frames[0].mask) and np.array_equal(frame.chain_ids, frames[0].chain_ids)):
            raise StructureError(f"{frame.name}: has other atoms than {frames[0].name}, the first frame")
    order = np.concatenate([np.flatnonzero(frames[0].chain_ids == chain) for chain in frames[0].chains])
    xyz = np.stack([frame.atoms[order][frame.mask[order]] for frame in frames]).astype(np.float32) / A_PER_NM
    return mdtraj.Trajectory(xyz, to_mdtraj(frames[0]).topology)


def from_mdtraj(trajectory: Any, frame: int = 0, *, name: str = "trajectory") -> Protein:
    """The amino acids of one frame of an mdtraj trajectory, in Å.

    Args:
        trajectory: from mdtraj.
        frame: which one, from 0; negative counts from the end.
        name: for the protein.

    Raises:
        StructureError: if the frame does not exist or holds no amino acid.
    """
    if not -trajectory.n_frames <= frame < trajectory.n_frames:
        raise StructureError(f"{name}: has {trajectory.n_frames} frames; there is no frame {frame}")
    return next(frames_of(trajectory[frame], [name]))


def frames_of(trajectory: Any, names: Sequence[str]) -> Iterator[Protein]:
    """The amino acids of each frame of an mdtraj trajectory, in Å. The topology is read once for all frames.

    Args:
        trajectory: from mdtraj.
        names: one for each frame.

    Raises:
        StructureError: if there is no amino acid, or a coordinate is not finite.
    """
    places, rows = [], []
    for chain in trajectory.topology.chains:
        given = getattr(chain, "chain_id", None)
        chain_id = str(given).strip() if given not in (None, "", " ") else _letter(chain.index)
        for residue in chain.residues:
            standard = parent(residue.name.upper())
            if standard is None:
                continue
            place = np.full(5, -1)
            for atom in residue.atoms:
                if atom.name in ATOM_NAMES and (atom.element is None or atom.element.symbol == atom.name[0]):
                    place[ATOM_NAMES.index(atom.name)] = atom.index
            places.append(place)
            rows.append((np.full((5, 3), np.nan), standard, chain_id, int(residue.resSeq), ""))
    index = np.array(places, dtype=int).reshape(-1, 5)
    template = _from_rows(rows, names[0])
    for name, xyz in zip(names, trajectory.xyz, strict=True):
        atoms = np.where((index >= 0)[..., None], xyz[index].astype(float) * A_PER_NM, np.nan)
        if not np.isfinite(atoms[index >= 0]).all():
            raise StructureError(f"{name}: a coordinate is not finite; the trajectory is damaged")
        yield replace(template, atoms=atoms, mask=index >= 0, name=name)


def _letter(index: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[index] if index < len(letters) else f"{letters[index // 26 % 26]}{index}"


def _from_rows(rows: list[tuple[np.ndarray, str, str, int, str]], name: str) -> Protein:
    if not rows:
        raise StructureError(f"{name}: holds no amino acid")
    atoms = np.stack([row[0] for row in rows])
    return Protein(
        atoms=atoms,
        mask=np.asarray(np.isfinite(atoms).all(axis=-1)),
        residue_names=np.array([row[1] if row[1] in STANDARD else UNKNOWN for row in rows]),
        chain_ids=np.array([row[2] for row in rows]),
        residue_numbers=np.array([row[3] for row in rows]),
        insertion_codes=np.array([row[4] for row in rows]),
        name=name,
    )

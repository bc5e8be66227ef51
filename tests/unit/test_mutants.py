"""Values that mutation testing (`benchmarks/mutation.py`) found unguarded: constants by their source, limits, ends."""

import importlib
import math

import numpy as np
import pytest
import torch

from protgen.geometry import constants
from protgen.geometry.internal import UNDEFINED_TORSIONS, internal_coordinates
from protgen.geometry.superposition import Motion, superpose
from protgen.metrics import ca_states, packing, tm_numpy
from protgen.metrics.bonds import Target
from protgen.metrics.chirality import helical_turns, is_mirror_image
from protgen.metrics.clashes import closed_ends
from protgen.metrics.clashscore import overlapping
from protgen.metrics.distribution import length_matched
from protgen.metrics.fold_network import FoldNetwork, read_geometry
from protgen.metrics.fragments import LENGTH, PAIRS, SCALE, fragment_table
from protgen.metrics.ramachandran import Ramachandran
from protgen.metrics.self_consistency import RefoldScore, best_of
from protgen.metrics.soundness import measures
from protgen.metrics.tm import tm_scores
from protgen.metrics.tm_library import NoLibraryError, _run
from protgen.metrics.tm_starts import Stretch, _jump, _middle
from protgen.structure.ideal import add_cb, build_from_torsions, ideal_hairpin, ideal_helix, mirror
from protgen.structure.protein import Protein

# Ideal values and standard deviations, Å and degrees (Engh and Huber 1991).
ENGH_HUBER = {
    "c_n": (1.329, 0.014),
    "n_ca": (1.458, 0.019),
    "ca_c": (1.525, 0.021),
    "c_o": (1.231, 0.020),
    "n_ca_c": (111.0, 2.8),
    "ca_c_n": (116.6, 2.0),
    "c_n_ca": (121.4, 1.8),
}


def test_constants_of_the_backbone():
    """Distances by coordinates in a plane; the rest as their sources state it (Å, degrees)."""

    def across(first: float, second: float, degrees: float) -> float:
        along = second * math.cos(math.radians(180 - degrees))
        return math.hypot(first + along, second * math.sin(math.radians(180 - degrees)))

    assert pytest.approx(across(1.525, 1.329, 117.2), abs=1e-12) == constants.CA_N_NEXT
    assert pytest.approx(across(1.329, 1.458, 121.7), abs=1e-12) == constants.C_CA_NEXT
    # Mean of cis peptides in crystals: 2.94 to 2.97 Å (Jabs et al. 1999); natives here have 2.74 to 3.05.
    assert constants.CA_CA_CIS == 2.96
    assert (constants.CHAIN_BREAK_TOLERANCE, constants.CIS_TOLERANCE) == (0.75, 0.25)
    assert (constants.RG_SCALE, constants.RG_EXPONENT) == (2.2, 0.38)


@pytest.mark.parametrize(
    ("module", "numbers"),
    [
        ("geometry.hydrogen_bonds", {"N_H": 1.0, "BONDED": -0.5, "NEAR": 9.0, "LEAST_APART": 3}),  # Kabsch and Sander
        ("metrics.bonds", {"CA_CA_TOLERANCE": 0.1, "FRAMEDIFF_LIMIT": 3.902, "PEPTIDE_BOND": 1.33, "OUTLIER_Z": 4.0}),
        ("metrics.bonds", {"TARGETS": {name: Target(*known) for name, known in ENGH_HUBER.items()}}),
        ("metrics.chirality", {"HELIX_DIHEDRAL": math.radians(50), "DIHEDRAL_WIDTH": math.radians(25)}),
        ("metrics.chirality", {"HELIX_RISE": 5.3, "RISE_WIDTH": 0.8, "MIN_RUN": 4, "_MIN_EVIDENCE": 8}),
        ("metrics.clashes", {"CA_LIMITS": {"framediff": 1.5, "frameflow": 1.0, "la_proteina": 2.0}}),
        ("metrics.clashes", {"HEAVY_LIMIT": 2.0, "HEAVY_LIMIT_RFD3": 1.5, "CLOSED": 1.6}),
        ("metrics.compactness", {"BURIAL_RADIUS": 10.0, "BURIAL_NEIGHBOURS": 20}),
        ("metrics.novelty", {"NOVEL": 0.5, "SHORTEST": 0.5, "SCREENED": (1200, 5), "KEEP": 250}),
        ("metrics.packing", {"CONE_DISTANCE": 9.0, "CONE_SHIFT": 0.5, "CONE_POWER": 2.0, "LEAST_TOUCHES": 4}),
        ("metrics.secondary_structure", {"HELIX_CLASS": 0.15, "STRAND_CLASS": 0.10}),  # Nakashima et al. 1986
        ("metrics.self_consistency", {"DESIGNABLE": 2.0, "SAME_FOLD": 0.5, "CONFIDENT": 70.0, "MOTIF_KEPT": 1.0}),
        ("metrics.soundness", {"FEWEST": 30, "ELEMENT": {"H": 5, "E": 3}, "EXTENDED": 5, "HELD": 6}),
        ("metrics.soundness", {"MARGIN": 0.2, "LEAST_MARGIN": 12}),
        ("metrics.tm_numpy", {"STATE_GAP": -1.0, "ALIKE": 0.5, "COARSE": 40}),  # from here on TM-align's program
        ("metrics.tm_pairs", {"MIN_D0": 0.5, "SEARCH_SLACK": 0.8, "SHORT": 19, "SHORT_D0": 0.168}),
        ("metrics.tm_refine", {"LENGTHS": 6, "SHORTEST": 4, "TURNS": 20, "FEWEST": 3}),
        ("metrics.tm_starts", {"LEAST_OVERLAP": 5, "PIECE_SLACK": 1.5, "UNBROKEN": 4.25, "LEAST_FRAGMENT": 4}),
        ("metrics.ca_states", {"_HELIX_WIDTH": 2.1, "_STRAND_WIDTH": 1.42, "_TURN_REACH": 8.0}),
        ("spaces.hydrogen_bond_loss", {"LOCAL": 5, "SCALE": 0.25}),
        ("spaces.torsions", {"BROKEN": 2.0, "CONTACT": 2.6, "CA_CONTACT": 3.6}),
        ("spaces.torsions", {"ANGLE_STD": tuple(math.radians(x) for x in (2.7, 2.2, 2.5))}),
    ],
)
def test_numbers_of_definitions(module, numbers):
    """Limits and units that reports, docs and sources state; who changes one changes what is published under a name."""
    found = importlib.import_module(f"protgen.{module}")
    assert {name: getattr(found, name) for name in numbers} == numbers


def test_the_virtual_cb_is_tetrahedral():
    """1.53 Å from CA at 110 degrees to N and C, on the side of an L amino acid."""
    n, ca, c = ideal_helix(3)[1, :3]
    cb = add_cb(ideal_helix(3))[1]
    bond = cb - ca
    assert np.linalg.norm(bond) == pytest.approx(1.53, abs=0.01)
    for other in (n - ca, c - ca):
        cosine = bond @ other / np.linalg.norm(bond) / np.linalg.norm(other)
        assert math.degrees(math.acos(cosine)) == pytest.approx(110, abs=1.5)
    assert np.cross(n - ca, c - ca) @ bond > 0


def test_distances_of_tm_aligns_states():
    """CA i-2 to i, i+1, i+2; i-1 to i+1, i+2; i to i+2: the numbers of `sec_str` in TM-align's program, Å."""
    assert ca_states._HELIX.tolist() == [5.45, 5.18, 6.37, 5.45, 5.18, 5.45]
    assert ca_states._STRAND.tolist() == [6.1, 10.4, 13.0, 6.1, 10.4, 6.1]


def test_torsions_that_the_ends_leave_open():
    """phi of the first, psi and omega of the last residue have the values that the contract names, in this order."""
    torsions = internal_coordinates(torch.from_numpy(ideal_helix(6))).torsions
    found = (torsions[0, 0].item(), torsions[-1, 1].item(), torsions[-1, 2].item())
    assert found == pytest.approx(UNDEFINED_TORSIONS, abs=1e-6)
    assert UNDEFINED_TORSIONS[1] != UNDEFINED_TORSIONS[0]


def test_phi_between_zero_and_minus_one_radian_is_negative():
    """All phi are -0.5: none counts. With 0.5 all do."""
    for phi, share in ((-0.5, 0.0), (0.5, 1.0)):
        protein = Protein.from_backbone(build_from_torsions(np.full(12, phi), np.full(12, 2.3)))
        assert Ramachandran().measure(protein)["phi_positive"] == share


def test_as_many_left_as_right_turns_are_no_mirror_image():
    """A CA trace of a helix and its mirror image, 100 Å apart in two chains: the sum of turns is 0."""
    xyz = np.concatenate([ideal_helix(20), mirror(ideal_helix(20)) + 100.0])
    xyz[:, [0, 2, 3]] = np.nan
    protein = Protein.from_backbone(xyz, chain_ids=np.repeat(["A", "B"], 20))
    turns = helical_turns(protein)
    assert (turns.sum(), np.abs(turns).sum()) == (0, 34)
    assert is_mirror_image(protein) is False


def test_atoms_three_bonds_apart_do_not_clash():
    """CA of a cis peptide are 2.9 Å apart, 3 bonds: their radii overlap by 0.5 Å, which chemistry explains."""
    omega = np.full(6, np.pi)
    omega[2] = 0.0
    cis, trans = (
        overlapping(Protein.from_backbone(build_from_torsions(np.full(6, -1.6), np.full(6, 3.0), o)))[0]
        for o in (omega, np.pi)
    )
    ca = build_from_torsions(np.full(6, -1.6), np.full(6, 3.0), omega)[:, 1]
    assert 2 * 1.70 - np.linalg.norm(ca[3] - ca[2]) > 0.4
    assert (cis, trans) == (0, 0)


def test_a_neighbour_beyond_the_reach_counts_nothing():
    first = ideal_helix(1)
    along = (add_cb(first) - first[:, 1])[0]
    for apart, expected in ((15.9, 1 / (1 + np.exp(6.9))), (16.5, 0.0)):
        protein = Protein.from_backbone(np.concatenate([first, first + apart * along / np.linalg.norm(along)]))
        assert packing.side_neighbours(protein) == pytest.approx([expected, 0.0], abs=1e-9)


def test_two_residues_of_two_chains_touch():
    both = np.concatenate([ideal_helix(1), ideal_helix(1) + 5.0])
    protein = Protein.from_backbone(both, chain_ids=np.array(["A", "B"]))
    assert packing.touching(protein).tolist() == [[0, 1]]


def test_motif_success_has_its_limit_at_one():
    """Å, both sides of 1; the second limit, on the whole, is 2."""
    for motif, whole, expected in ((0.99, 1.9, 1.0), (1.0, 1.9, 0.0), (0.5, 2.0, 0.0)):
        row = best_of([RefoldScore("a", whole, 1.0, 0.9, 90.0, motif)], 1, motif=True)
        assert row["motif_success"] == expected


def test_the_worst_of_two_chains_has_the_value_of_that_chain():
    """Joint and length of the shorter of two hairpins, as if it stood alone, however the worst is found."""
    one, two = ideal_hairpin(40), ideal_hairpin(60) + 200.0
    chains = np.repeat(["A", "B"], [40, 60])
    alone = [measures(Protein.from_backbone(chain)) for chain in (one, two)]
    both = measures(Protein.from_backbone(np.concatenate([one, two]), chain_ids=chains))
    assert both["length"] == 40
    for column, worst in (("joint", min), ("neighbours", min), ("rg_chain_ratio", max)):
        assert both[column] == pytest.approx(worst(row[column] for row in alone), abs=1e-9)
    assert alone[0]["joint"] > 0


def test_edges_end_at_twenty():
    """Two residues of two chains at distance d, a third far off: (1 + cos(pi d / 20)) / 2, and 0 from 20 Å on."""
    place = torch.tensor([[0, 500, 1000]])
    for apart in (10.0, 19.5, 20.5):
        ca = torch.tensor([[[0.0, 0.0, 0.0], [apart, 0.0, 0.0], [300.0, 400.0, 0.0]]])
        weight = read_geometry(ca, torch.ones(1, 3, dtype=torch.bool), place)[3]
        expected = 0.5 + 0.5 * math.cos(math.pi * apart / 20.0) if apart < 20 else 0.0
        assert weight.max().item() == pytest.approx(expected, abs=1e-6)


def test_edges_name_the_separation_along_the_chain():
    """One of nine bins for each direction, bounds 4, 5, 7, 10, 15, 22, 33, 64: the last 18 features of an edge."""
    place = torch.tensor([[0, 3, 4, 7, 14, 15, 32, 64, 200]])
    ca = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0)) * 5
    _, edges, near, weight = read_geometry(ca, torch.ones(1, 9, dtype=torch.bool), place)
    bounds, seen = (4, 5, 7, 10, 15, 22, 33, 64), 0
    for i in range(9):
        for k, j in enumerate(near[0, i].tolist()):
            if weight[0, i, k] > 0:
                step = int(place[0, j] - place[0, i])
                wanted = sum(abs(step) >= bound for bound in bounds) + 9 * (step > 0)
                assert edges[0, i, k, -18:].argmax() == wanted, step
                seen += 1
    assert seen > 40


@pytest.mark.parametrize(("residues", "stride"), [(60, 3), (40, 1)])
def test_likeness_is_the_mean_over_every_nth_fragment(residues, stride):
    """Against loops: of a sample of 60 residues every third fragment is read, (60 - 24) // 12, of one of 40 all."""
    rng = np.random.default_rng(0)
    sample, reference = (np.cumsum(rng.normal(size=(n, 3)), axis=0) * 2 for n in (residues, 50))

    within = [(a, b) for a in range(0, 24, 4) for b in range(a + 3, 24, 4)] + [(0, 23)]
    assert (24, 2.0, within) == (LENGTH, SCALE, PAIRS)

    def distances(trace: np.ndarray, start: int) -> np.ndarray:
        return np.array([np.linalg.norm(trace[start + a] - trace[start + b]) for a, b in within])

    worth = []
    for start in range(0, residues - LENGTH + 1, stride):
        apart = [np.mean((distances(sample, start) - distances(reference, k)) ** 2) for k in range(50 - LENGTH + 1)]
        worth.append(1 / (1 + min(apart) / SCALE**2))
    assert fragment_table([reference]).likeness(sample)[0] == pytest.approx(np.mean(worth), abs=1e-5)


def test_all_residues_of_equal_traces_are_aligned():
    ca = ideal_hairpin(30)[:, 1]
    found = tm_scores([ca, ca + 3.0], np.array([[0, 1], [1, 0]]))
    assert found.n_aligned.tolist() == [30, 30]
    assert found.searched.all()


def test_the_search_of_tm_has_the_steps_of_tm_align():
    """Zhang and Skolnick 2005 (TM-align, `get_initial_fgt` and gap costs): costs, and steps by length."""
    assert tm_numpy.GAPS == (-0.6, 0.0)
    steps = {30: 10, 45: 15, 150: 15, 151: 25, 200: 25, 201: 35, 250: 35, 251: 45}
    assert {length: _jump(length) for length in steps} == steps


def test_the_middle_of_a_whole_chain_is_four_fifths():
    """Residues 10 to 89 of 100; a stretch that is not the whole stays."""
    stretch = _middle(Stretch(np.array([0, 5]), np.array([100, 20])), np.array([100, 100]))
    assert stretch.first.tolist() == [10, 5]
    assert stretch.count.tolist() == [80, 20]


def test_features_of_a_residue_are_those_of_the_definition():
    """The twelve numbers of each residue of a random trace, against numpy in a loop."""
    rng = np.random.default_rng(1)
    n = 11
    trace = np.cumsum(rng.normal(size=(n, 3)) * 2.2, axis=0)
    ca = torch.from_numpy(trace)[None]
    found = read_geometry(ca, torch.ones(1, n, dtype=torch.bool), torch.arange(n)[None])[0][0].numpy()

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    for i in range(n):
        row = [np.linalg.norm(trace[i + k] - trace[i]) / (3 * k) if i + k < n else 0.0 for k in (2, 3, 4, 5)]
        bonds = [unit(trace[k + 1] - trace[k]) for k in range(i, min(i + 3, n - 1))]
        row.append(bonds[0] @ bonds[1] if len(bonds) > 1 else 0.0)
        if len(bonds) == 3:
            normals = [unit(np.cross(bonds[0], bonds[1])), unit(np.cross(bonds[1], bonds[2]))]
            row += [normals[0] @ normals[1], bonds[0] @ normals[1]]
        else:
            row += [0.0, 0.0]
        between = np.linalg.norm(trace - trace[i], axis=1)
        row += [(1 / (1 + np.exp(between - r))).sum() / scale for r, scale in ((8.0, 8), (12.0, 24), (16.0, 50))]
        row += [1 / (1 + 0.2 * i), 1 / (1 + 0.2 * (n - 1 - i))]
        assert found[i] == pytest.approx(row, abs=1e-6)


def test_an_embedding_is_standardised():
    """(raw - centre) / std with centre 1 and deviation 4."""
    torch.manual_seed(0)
    network = FoldNetwork(classes=3, dropout=0.2).eval()
    assert [part.p for part in network.modules() if isinstance(part, torch.nn.Dropout)] == [0.2, 0.1]
    ca = torch.from_numpy(ideal_helix(12)[:, 1]).float()[None]
    batch = (ca, torch.ones(1, 12, dtype=torch.bool), torch.arange(12)[None])
    with torch.no_grad():
        raw = network.embed(*batch)
        network.centre.fill_(1.0)
        network.std.fill_(4.0)
        assert network.embed(*batch).numpy() == pytest.approx((raw.numpy() - 1) / 4, abs=1e-6)


def test_matched_lengths_index_their_own_sets():
    """Strata of 20: of lengths 5, 41, 8 one goes with 3, by index; 41 and 65 have no partner."""
    first, second = length_matched(np.array([5, 41, 8]), np.array([65, 26, 3]))
    assert second.tolist() == [2]
    assert first.tolist() in ([0], [2])
    first, second = length_matched(np.array([50, 51]), np.array([9, 52, 53, 54]))
    assert first.tolist() == [0, 1]
    assert len(second) == 2
    assert set(second.tolist()) <= {1, 2, 3}


def test_a_motion_is_a_matrix_and_a_shift():
    """R x + t of one motion that is no rotation, by hand."""
    rotation = np.arange(1.0, 10.0).reshape(3, 3)
    moved = Motion(rotation[:, :, None], np.array([[1.0], [2.0], [3.0]])).apply(
        np.array([2.0, 3.0, 5.0])[:, None, None]
    )
    assert moved[:, 0, 0].tolist() == [2 + 6 + 15 + 1, 8 + 15 + 30 + 2, 14 + 24 + 45 + 3]


@pytest.mark.parametrize("turned", ["round", "line", "back", "point"])
def test_the_best_rotation_of_points_that_leave_it_open(turned):
    """Points in general place, on a line (turned by a quarter, or by a half), at one place: it is proper, and fits."""
    rng = np.random.default_rng(2)
    spread = {"round": np.eye(3), "point": np.zeros((3, 3))}.get(turned, np.diag([1.0, 0.0, 0.0]))
    x = rng.normal(size=(9, 3)) @ spread
    y = {"line": x[:, [1, 0, 2]], "back": -x}.get(turned, x[:, [1, 2, 0]])
    motion = superpose(x.T[:, :, None], y.T[:, :, None], np.ones((9, 1)))
    turn = motion.rotation[:, :, 0]
    assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-6)
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-6)
    assert pytest.approx(y, abs=1e-5) == motion.apply(x.T[:, :, None])[:, :, 0].T


def test_ends_of_a_ring_are_found():
    """C of the last on N of the first at 1.3 Å, in two chains; not at 3 Å, and not in a chain of four."""

    def closed(n: int, apart: float) -> np.ndarray:
        backbone = ideal_helix(n)
        backbone[-1, 2] = backbone[0, 0] + [apart, 0.0, 0.0]
        return backbone

    ring = np.concatenate([closed(5, 1.3), closed(6, 1.3) + 50.0])
    assert closed_ends(Protein.from_backbone(ring, chain_ids=np.repeat(["A", "B"], [5, 6]))) == [(0, 4), (5, 10)]
    assert closed_ends(Protein.from_backbone(closed(6, 3.0))) == []
    assert closed_ends(Protein.from_backbone(closed(4, 1.3))) == []


def test_a_joint_has_a_fifth_of_the_chain_on_either_side():
    """Fifteen of a hundred residues lie 200 Å off: a loose end and no joint, which is looked for from 20 to 80."""
    backbone = ideal_hairpin(100)
    backbone[85:] += 200.0
    protein = Protein.from_backbone(backbone)
    expected = packing.weakest_joint(packing.touching(protein), 100, 20)
    assert measures(protein)["joint"] == pytest.approx(expected, abs=1e-12)
    assert expected > 0 == packing.weakest_joint(packing.touching(protein), 100, 12)


def test_a_compiler_is_told_by_its_first_line(monkeypatch):
    """Of at most 200 letters; one that hangs by its name."""
    with pytest.raises(NoLibraryError, match=r"^sh failed: one$"):
        _run(["sh", "-c", "printf 'one\\ntwo\\n' >&2; exit 1"])
    with pytest.raises(NoLibraryError, match=r"^sh failed: 1{200}$"):
        _run(["sh", "-c", f"echo {'1' * 300} >&2; exit 1"])
    monkeypatch.setattr("protgen.metrics.tm_library._COMPILE_SECONDS", 0.1)
    with pytest.raises(NoLibraryError, match=r"^sleep took more than 0 s$"):
        _run(["sleep", "5"])

"""Items of several chains or segments: what becomes one, how stores tell them apart, what may train on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from protgen.conditions.embedding import ConditionEmbedding
from protgen.data.build import BuildOptions, build
from protgen.data.clusters import Clustering
from protgen.data.dataset import collate
from protgen.data.reading import ReadingOptions
from protgen.data.store import Store
from protgen.data.windows import Filters
from protgen.errors import ConfigError
from protgen.evaluation.reference import load_reference
from protgen.models.blueprints import fit_store
from protgen.models.fits import require_several_chains
from protgen.models.model import build_model
from protgen.spaces.backbone import joint_error
from protgen.spaces.hydrogen_bond_loss import hydrogen_bond_error
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import STANDARD
from protgen.structure.writer import write_structure

LOOSE = Filters(min_length=20, max_length=80, max_coil=1.0, rg_percentile=96, validation_fraction=0.5)
OWN = Clustering(program="builtin")


def complex_of(*parts: tuple[str, int, int], apart: float = 9.0, broken: bool = False) -> Protein:
    """Parallel helices: (chain, length, seed of the sequence)."""
    xyz = np.concatenate([ideal_helix(n) + np.array([apart * k, 0, 0]) for k, (_, n, _) in enumerate(parts)])
    if broken:
        xyz[10:20] += [0, 0, 30.0]
    return Protein.from_backbone(
        xyz,
        chain_ids=np.concatenate([np.full(n, chain) for chain, n, _ in parts]),
        residue_numbers=np.concatenate([np.arange(1, n + 1) for _, n, _ in parts]),
        residue_names=np.concatenate([np.random.default_rng(seed).choice(STANDARD, n) for _, n, seed in parts]),
    )


def built(folder: Path, files: dict[str, Protein], **options) -> tuple[dict[str, str], Store]:
    """Reasons of what was dropped, and the store."""
    (folder / "in").mkdir()
    for name, protein in files.items():
        write_structure(protein, folder / "in" / f"{name}.pdb")
    reading = ReadingOptions(options.pop("units", "complex"))
    filters = replace(LOOSE, rg_percentile=options.pop("most", 96.0))
    build(folder / "in", folder / "store", filters, BuildOptions(reading, clustering=OWN, **options))
    store = Store(folder / "store")
    return {entry["id"]: entry["reason"] for entry in store.manifest["dropped"]}, store


@pytest.fixture(scope="module")
def dimers(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Store]:
    """A hetero-trimer with a peptide, two dimers that share a chain, another, and what is no complex."""
    files = {
        "1abc": complex_of(("A", 22, 1), ("B", 30, 2), ("P", 9, 3), ("C", 21, 4), apart=7.0),
        "2abc": complex_of(("A", 24, 5), ("B", 30, 6)),
        "3abc": complex_of(("H", 33, 7), ("L", 24, 5)),
        "4abc": complex_of(("A", 40, 8), ("B", 31, 9)),
        "5few": complex_of(("A", 40, 10), ("P", 12, 11)),
        "6far": complex_of(("A", 30, 12), ("B", 30, 13), apart=40.0),
        "7big": complex_of(("A", 50, 14), ("B", 31, 15)),
        "8cut": complex_of(("A", 30, 16), ("B", 30, 17), broken=True),
    }
    return built(tmp_path_factory.mktemp("dimers"), files)


def test_chains_of_a_file_are_one_item_or_dropped_by_name(dimers):
    """Their atoms, numbers and residue types in order, which chain each residue is of, and the names of the chains."""
    dropped, store = dimers
    items = {item.id: item for item in store}
    assert {name: len(item.atoms) for name, item in items.items()} == {"1abc": 73, "2abc": 54, "3abc": 57, "4abc": 71}
    assert items["1abc"].facts["chains"] == ["A", "B", "C"]
    assert items["1abc"].residue["chain_index"].tolist() == [0] * 22 + [1] * 30 + [2] * 21
    assert items["1abc"].numbers.tolist() == [*range(1, 23), *range(1, 31), *range(1, 22)]
    assert np.abs(items["4abc"].atoms - complex_of(("A", 40, 8), ("B", 31, 9)).backbone).max() < 0.001
    assert dropped == {
        "1abc_P": "peptide, length 9 < 20",
        "5few_P": "peptide, length 12 < 20",
        "5few": "too few chains: 1 of 20 residues or more; a complex has two",
        "6far": "chain B touches none of the others before it (CA within 8 Å)",
        "7big": "length 81 > 80; items of several chains or segments are not cropped",
        "8cut": "2 chain breaks",
    }
    assert (store.manifest["version"], store.of_parts) == (4, True)


def test_complexes_that_share_a_chain_are_one_cluster(dimers):
    """The chain of 24 residues is 44 % of one complex and 42 % of the other: whole sequences would not show it."""
    clusters = {entry["id"]: entry["cluster"] for entry in dimers[1].manifest["kept"]}
    assert clusters == {"1abc": "1abc", "2abc": "2abc", "3abc": "2abc", "4abc": "4abc"}


def test_a_batch_has_gaps_between_chains_and_losses_no_bond_there(dimers):
    """Three positions that are no residues; joints are those of each chain by itself, 21 + 29 + 20 of them."""
    _, store = dimers
    items = {item.id: item for item in store}
    batch = collate([items["1abc"], items["4abc"]])
    assert batch.mask.shape == (2, 79)
    assert batch.mask[0].nonzero().flatten().tolist() == [*range(22), *range(25, 55), *range(58, 79)]
    assert batch["chain_index"][0].tolist() == [0] * 25 + [1] * 33 + [2] * 21
    assert batch["chain_index"][1].tolist() == [0] * 43 + [1] * 36
    assert torch.equal(batch["atoms"][0][batch.mask[0]], torch.from_numpy(np.array(items["1abc"].atoms)))
    cond = ConditionEmbedding(["length"]).from_data(batch, torch.Generator())
    assert cond.chains is not None
    assert torch.equal(cond.chains, batch["chain_index"].long())
    assert float(cond.globals[0, 0]) == pytest.approx(np.log(0.73), abs=1e-6)
    moved = batch["atoms"] + 0.1 * torch.randn(batch["atoms"].shape, generator=torch.Generator().manual_seed(0))
    whole = joint_error(moved[:1], batch["atoms"][:1], batch.mask[:1])
    parts = [slice(0, 22), slice(25, 55), slice(58, 79)]
    each = [joint_error(moved[:1, p], batch["atoms"][:1, p], batch.mask[:1, p]) for p in parts]
    expected = sum(n * float(value) for n, value in zip((21, 29, 20), each, strict=True)) / 70
    assert float(whole) == pytest.approx(expected, rel=1e-5)


def test_the_first_residue_of_a_further_chain_is_no_donor():
    """Its amide hydrogen would be placed by a position that is no residue: no error comes from it."""
    real = torch.from_numpy(np.concatenate([ideal_helix(10), ideal_helix(10)])[None]).double()
    mask = torch.ones(1, 20, dtype=torch.bool)
    mask[:, 9] = False
    moved = real.clone()
    moved[:, 10, 0] += 3.0  # N of the first residue behind
    alone = real.clone()
    assert float(hydrogen_bond_error(moved, real, mask)) == pytest.approx(float(hydrogen_bond_error(alone, real, mask)))


def test_what_knows_one_chain_is_refused_by_name(dimers, monkeypatch):
    """Encoders and families that would take two chains for bonded, and conditions that count along one."""
    encoder = {"name": "frame_attention", "dim": 32, "pair_dim": 8, "blocks": 1, "heads": 2, "refresh": 1}

    def model(conditions=("length",), space="backbone", family="flow_matching", **own):
        config = {"space": {"name": space}, "encoder": encoder | own, "family": {"name": family}}
        return build_model(config | {"conditions": list(conditions), "about": {}})

    good = model(["length", "secondary_structure", "fractions"])
    require_several_chains(good.family, good.conditions, "it")
    batch = collate([dimers[1][0], dimers[1][1]])
    rng = torch.Generator().manual_seed(0)
    loss = good.family.loss(good.family.space.encode(batch), good.conditions.from_data(batch, rng), rng)
    assert torch.isfinite(loss.total)
    counting = model(["length", "contact_order"])
    with pytest.raises(ConfigError, match="the condition contact_order counts along one chain"):
        require_several_chains(counting.family, counting.conditions, "it")
    monkeypatch.setattr(type(good.family.encoder), "tells_chains_apart", False)
    with pytest.raises(ConfigError, match="FrameAttentionEncoder does not tell chains apart; use frame_attention or"):
        require_several_chains(good.family, good.conditions, "it")


def test_natives_and_blueprints_of_such_a_store_have_its_chains(dimers):
    """A reference for novelty has chains, and blueprints are those of each chain: no helix runs over an end."""
    reference = load_reference(dimers[1].folder)
    assert list(reference.proteins[0].chains) == ["1", "2", "3"]
    prior = fit_store(dimers[1])
    assert max(int(n) for n in prior.elements["H"]) <= 40


def test_segments_of_a_domain_that_do_not_meet_are_one_item(tmp_path):
    """Residues 1-20 and 41-60 of a helix lie 30 Å apart; 1-20 and 21-40 are bonded, and one piece."""
    (tmp_path / "d.txt").write_text("1abcA01 1-20:A,41-60:A\n1abcA02 1-20:A,21-40:A\n1abcA03 21-30:A,51-70:A,31-35:A\n")
    of = {"1abc": complex_of(("A", 70, 1))}
    _, store = built(tmp_path, of, units="domain", most=100.0, domains=tmp_path / "d.txt")
    items = {item.id: item for item in store}
    assert items["1abcA01"].numbers.tolist() == [*range(1, 21), *range(41, 61)]
    assert items["1abcA01"].residue["chain_index"].tolist() == [0] * 20 + [1] * 20
    assert items["1abcA01"].facts["parts"] == 2
    assert "chains" not in items["1abcA01"].facts
    assert not items["1abcA02"].residue["chain_index"].any()
    assert items["1abcA03"].residue["chain_index"].tolist() == [0] * 15 + [1] * 20


def test_stores_of_whole_chains_are_as_before(tmp_path):
    """Version 3, and no field more."""
    of = {"1abc": complex_of(("A", 30, 1)), "2abc": complex_of(("A", 31, 2))}
    _, store = built(tmp_path, of, units="chain", most=100.0)
    assert (store.manifest["version"], store.of_parts) == (3, False)
    assert list(store.fields) == ["atoms", "labels", "numbers", "aatype"]

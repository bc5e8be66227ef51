"""What structure predictors and sequence designers promise; a new tool joins by its name."""

import copy
import json

import numpy as np
import pytest

from protgen import registry
from protgen.errors import ConfigError, ToolError, UsageError
from protgen.folding.base import CHAIN, Folded
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.residue_names import ONE_LETTER

KINDS = ("folding", "inverse_folding")
TOOLS = [(kind, name) for kind in KINDS for name in registry.names(kind)]
LETTERS = set(ONE_LETTER.values())


def at_hand(kind: str) -> list[str]:
    """Tools that work on any machine."""
    return [name for name, cls in registry.classes(kind).items() if cls.self_contained]


def built(kind: str, name: str):
    return registry.build(kind, name, **registry.find(kind, name).example())


def refusal(kind: type[Exception], call) -> str | None:
    """What a call says when it refuses; None where it does not."""
    try:
        call()
    except kind as error:
        return str(error)
    return None


def dimer() -> Protein:
    return Protein.from_backbone(ideal_hairpin(20), chain_ids=np.repeat(["A", "B"], [12, 8]))


@pytest.mark.parametrize(("kind", "name"), TOOLS)
def test_settings_tell_results_apart(kind, name):
    """JSON with the tool's name, the same for two of one kind: results are cached under it."""
    one, two = built(kind, name), built(kind, name)
    assert one.name == name
    assert one.settings["name"] == name
    assert json.loads(json.dumps(one.settings)) == two.settings


@pytest.mark.parametrize(("kind", "name"), TOOLS)
def test_preparing_works_or_says_what_is_missing(kind, name):
    """Before hours of other work, and in one line."""
    said = refusal(UsageError, built(kind, name).prepare)
    assert said is None or (name in said and "\n" not in said)


@pytest.mark.parametrize(("kind", "name"), TOOLS)
def test_unknown_keywords_are_refused(kind, name):
    with pytest.raises(ConfigError, match="takes no keyword 'no_such_thing'"):
        registry.build(kind, name, no_such_thing=3)


@pytest.mark.parametrize("name", at_hand("folding"))
def test_a_predictor_gives_a_residue_for_each_letter(name):
    """Finite backbones, confidences of 0 to 100 or none, and the same again."""
    tool = built("folding", name)
    found, again = (tool.fold("ACDEFGHIKL") for _ in range(2))
    assert isinstance(found, Folded)
    assert found.protein.length == 10
    assert np.isfinite(found.protein.backbone).all()
    assert np.array_equal(found.protein.backbone, again.protein.backbone)
    if found.plddt is not None:
        assert found.plddt.shape == (10,)
        assert found.plddt.min() >= 0
        assert found.plddt.max() <= 100


@pytest.mark.parametrize("name", at_hand("folding"))
def test_a_predictor_folds_chains_or_says_that_it_cannot(name):
    """Of several chains, all residues are there; one line otherwise."""
    tool = built("folding", name)
    said = refusal(ToolError, lambda: tool.fold(f"AAAA{CHAIN}AAA"))
    if said is None:
        assert tool.fold(f"AAAA{CHAIN}AAA").protein.length == 7
    else:
        assert name in said
        assert "\n" not in said


@pytest.mark.parametrize("name", at_hand("inverse_folding"))
def test_a_designer_writes_at_most_n_sequences_that_fit(name):
    """As many letters as residues in each chain, amino acids alone; the backbone is left alone."""
    tool = built("inverse_folding", name)
    for protein in (Protein.from_backbone(ideal_helix(15)), dimer()):
        before = copy.deepcopy(protein)
        lengths = [int((protein.chain_ids == chain).sum()) for chain in protein.chains]
        for n in (1, 3):
            found = tool.design(protein, n, 5)
            assert 1 <= len(found) <= n
            for sequence in found:
                chains = sequence.split(CHAIN)
                assert [len(chain) for chain in chains] == lengths
                assert set("".join(chains)) <= LETTERS
        assert np.array_equal(protein.atoms, before.atoms, equal_nan=True)


@pytest.mark.parametrize("name", at_hand("inverse_folding"))
def test_a_designer_depends_on_its_seed_alone(name):
    """The same seed, the same sequences; another seed, others."""
    tool, protein = built("inverse_folding", name), Protein.from_backbone(ideal_helix(40))
    assert tool.design(protein, 2, 5) == tool.design(protein, 2, 5)
    assert tool.design(protein, 2, 5) != tool.design(protein, 2, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_some_tool_is_at_hand(kind):
    """Or the contracts above would test nothing."""
    assert at_hand(kind)

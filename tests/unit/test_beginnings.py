"""Beginnings of chains against those of natives: sizes, bonds, and what falls short, by value."""

import numpy as np
import pytest
import torch

from protgen.geometry.beginnings import (
    BONDED_MEAN,
    BONDED_STD,
    SIZE_MEAN,
    SIZE_STD,
    bonded_share,
    log_size,
    promise,
)
from protgen.spaces.torsions import Torsions
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.trace import radius_of_gyration
from protgen.types import Batch


def placed(shape: np.ndarray, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    atoms = torch.from_numpy(shape).float()[None]
    return atoms, (torch.arange(atoms.shape[1]) < count)[None]


def test_size_and_bonds_are_those_of_the_masked_part():
    """Of 20 residues of a helix 16 are bonded, of its first 10 six; Rg by the program for whole structures."""
    helix = ideal_helix(20)
    for count, bonded in ((20, 16 / 20), (10, 6 / 10)):
        atoms, mask = placed(helix, count)
        assert float(bonded_share(atoms, mask)) == pytest.approx(bonded)
        rg = radius_of_gyration(helix[:count, 1])
        assert float(log_size(atoms[:, :, 1], mask)) == pytest.approx(np.log(rg / (2.2 * count**0.38)), abs=1e-5)


@pytest.mark.parametrize(("length", "count"), [(40, 40), (60, 40), (80, 28), (200, 15)])
def test_what_falls_short_costs_half_its_square(length, count):
    """A helix of 40 residues is longer than beginnings of natives and bonded as well or better; a bare hairpin less."""
    for shape in (ideal_helix(40), ideal_hairpin(40)):
        atoms, mask = placed(shape, count)
        place = max(10 * count / length, 1)  # tables are at 1, 2 ... 10 tenths
        mean, std, share, spread = (
            np.interp(place, range(1, 11), table) for table in (SIZE_MEAN, SIZE_STD, BONDED_MEAN, BONDED_STD)
        )
        loose = max((float(log_size(atoms[:, :, 1], mask)) - mean) / std, 0)
        lacking = max((share - float(bonded_share(atoms, mask))) / spread, 0)
        found = float(promise(atoms, mask, torch.tensor([length])))
        assert found == pytest.approx(-(loose**2 + lacking**2) / 2, abs=1e-4)
    assert loose > 0 or lacking > 0


def test_nothing_is_said_of_few_residues_and_chains_do_not_depend_on_padding():
    atoms, mask = placed(ideal_helix(40), 11)
    assert float(promise(atoms, mask, torch.tensor([40]))) == 0
    space = Torsions()
    state = space.encode(Batch({"atoms": torch.from_numpy(ideal_helix(40)).float()[None]}, torch.ones(1, 40).bool()))
    alone = promise(space.observe(state), state.mask, torch.tensor([50]))
    assert torch.allclose(space.promise(state, torch.tensor([50])), alone, atol=1e-4)
    assert float(alone) < -0.5

"""Which refold belongs to which design, by names alone."""

import pytest

from protgen.errors import UsageError
from protgen.evaluation.refold_names import assign_refolds

DESIGNS = ["design_1.pdb", "design_10.pdb", "design_1_b.cif", "more/x.pdb.gz"]


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("design_1.pdb", 0),
        ("design_1.cif.gz", 0),
        ("design_1_2.pdb", 0),
        ("design_1-rank1.pdb", 0),
        ("design_1.seq.3.pdb", 0),
        ("design_1/anything.pdb", 0),
        ("design_1/deep/er.cif", 0),
        ("design_1_refolds/k.pdb", 0),
        ("design_10.pdb", 1),
        ("design_10/design_1.pdb", 1),
        ("design_1_b_7.pdb", 2),
        ("design_1_bc.pdb", 0),
        ("design_11.pdb", None),
        ("design_100/a.pdb", None),
        ("xdesign_1.pdb", None),
        ("other/design_1.pdb", None),
        ("more/x_1.pdb", 3),
        ("x_1.pdb", 3),
        ("set/design_1_4.pdb", 0),
        ("set/more/x.pdb", 3),
    ],
)
def test_rule(path, owner):
    """A whole name, or one that ends where no letter or digit goes on; of several the longest."""
    assert assign_refolds(DESIGNS, ["set"] * 4, [path]) == [owner]


def test_several_sets():
    """Folders called as the sets keep equal names apart; without them the refold is refused and both are named."""
    labels, sets = ["d.pdb", "d.pdb"], ["A", "B"]
    assert assign_refolds(labels, sets, ["B/d_1.pdb", "A/d/2.pdb"]) == [1, 0]
    with pytest.raises(UsageError, match=r"d_1\.pdb fits the designs A/d\.pdb and B/d\.pdb"):
        assign_refolds(labels, sets, ["d_1.pdb"])


def test_a_bare_name_counts_only_where_one_design_has_it():
    """Two sub-folders with the same file name need the sub-folder in the refold's path too."""
    labels = ["a/x.pdb", "b/x.pdb"]
    assert assign_refolds(labels, ["s", "s"], ["x.pdb", "b/x.pdb", "s/a/x_1.pdb"]) == [None, 1, 0]

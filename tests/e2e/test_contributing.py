"""The recipes of CONTRIBUTING.md, run as they stand there: files are written, commands are run, values are compared."""

import csv
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from protgen import registry
from protgen.geometry import so3
from protgen.spaces.backbone import Backbone
from protgen.structure.ideal import ideal_hairpin, ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure
from protgen.types import Conditioning, State

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALL = {"sample": ["--steps", "2", "--device", "cpu"], "evaluate": ["--no-folds"]}
TINY = ["train.steps=2", "validation.samples=0", "validation.batches=1", "machine.accelerator=cpu"]


def sections() -> dict[str, list[tuple[str, str]]]:
    """Blocks (language, text) of each section of the page."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title: BLOCK.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.fixture
def follow(cli, tiny_store, tmp_path, monkeypatch):
    """Does what a section says, in an empty folder with `designs/` and `store/`; returns the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "store").symlink_to(tiny_store)
    (tmp_path / "designs").mkdir()
    write_structure(Protein.from_backbone(ideal_helix(30)), tmp_path / "designs" / "helix.pdb")
    write_structure(Protein.from_backbone(ideal_hairpin(12)), tmp_path / "designs" / "hairpin.pdb")

    def do(title: str) -> Path:
        for language, text in sections()[title]:
            if language == "sh":
                for line in text.splitlines():
                    program, command, *rest = shlex.split(line)
                    assert program == "protgen"
                    done = cli(command, *rest, *(TINY if command == "train" else SMALL[command]))
                    assert done.code == 0, done.err
            else:
                name = re.match(r"# (\S+)\n", text)
                assert name is not None, "the first line of a file names it"
                Path(name[1]).write_text(text, encoding="utf-8")
        return tmp_path

    yield do
    for name in ("my_metric", "my_condition", "my_encoder", "my_family"):
        sys.modules.pop(name, None)


def test_metric(follow):
    """The column agrees with a count over pairs; a helix has short-range contacts, a hairpin long-range ones."""
    folder = follow("A metric")
    with (folder / "results" / "structures.csv").open(newline="") as handle:
        found = {row["file"]: float(row["relative_contact_order"]) for row in csv.DictReader(handle)}
    for name, backbone in (("helix.pdb", ideal_helix(30)), ("hairpin.pdb", ideal_hairpin(12))):
        ca, length = backbone[:, 1], len(backbone)
        pairs = [(i, j) for i in range(length) for j in range(i + 3, length) if np.linalg.norm(ca[i] - ca[j]) < 8]
        assert found[name] == pytest.approx(np.mean([j - i for i, j in pairs]) / length, abs=1e-4)
    summary = json.loads((folder / "results" / "summary.json").read_text())
    assert "within 8 Å" in summary["definitions"]["relative_contact_order"]["definition"]


def test_condition(follow):
    """The record has what was asked and what came out; the energy is that of a spring between the ends."""
    folder = follow("A condition")
    record = json.loads((folder / "near" / "design_0000.json").read_text())
    (met,) = [each for each in record["measured"] if each["condition"] == "end_distance"]
    assert met["asked"] == 12
    condition = registry.find("conditions", "my_condition:EndDistance")(distance=12.0)
    xyz = torch.tensor(ideal_helix(30))[None].float()
    mask = torch.arange(30)[None] < 20
    distance = float((xyz[0, 19, 1] - xyz[0, 0, 1]).norm())
    assert float(condition.energy(xyz, mask)) == pytest.approx(0.5 * (distance - 12) ** 2, rel=1e-4)
    assert condition.adherence(Protein.from_backbone(ideal_helix(20))).got == pytest.approx(distance, abs=0.01)


def test_encoder(follow):
    """It trains, loads again and samples; scalars are invariant and vectors turn, to 1e-5."""
    folder = follow("An encoder")
    assert json.loads((folder / "runs/mine/model/config.json").read_text())["encoder"]["name"] == "my_encoder:Distances"
    assert (folder / "mine" / "design_0000.pdb").is_file()
    torch.manual_seed(0)
    encoder = registry.build("encoders", "my_encoder:Distances", residue_dim=3, global_dim=2, dim=16)
    rng = torch.Generator().manual_seed(0)
    mask = torch.ones(2, 12, dtype=torch.bool)
    state = Backbone().noise(mask, torch.randn(2, 12, 7, generator=rng))
    cond, t = Conditioning(torch.randn(2, 12, 3, generator=rng), torch.randn(2, 2, generator=rng)), torch.rand(2)
    turn = so3.uniform(torch.randn(1, 4, generator=rng))[0]
    moved = State({"trans": state["trans"] @ turn.T + 3.0, "rots": turn @ state["rots"]}, mask)
    with torch.no_grad():
        before, after = encoder(state, t, cond), encoder(moved, t, cond)
    assert (after.scalars - before.scalars).abs().max() < 1e-5
    assert (after.vectors - before.vectors @ turn.T).abs().max() < 1e-5
    assert before.vectors.abs().max() > 0.1


def test_family(follow):
    """It trains, loads again and samples by any sampler."""
    folder = follow("A family")
    config = json.loads((folder / "runs/logit_normal/model/config.json").read_text())
    assert config["family"]["name"] == "my_family:LogitNormalFlow"
    assert (folder / "logit_normal" / "design_0000.pdb").is_file()


def test_entry_points_of_the_page_name_what_the_recipes_hold():
    """The table of entry points is valid, and its classes are those of the blocks above."""
    import tomllib

    written = "\n".join(text for blocks in sections().values() for language, text in blocks if language == "python")
    (table,) = [text for language, text in sections()["Give it a name"] if language == "toml"]
    groups = tomllib.loads(table)["project"]["entry-points"]
    assert {group.removeprefix("protgen.") for group in groups} <= registry.BASES.keys()
    for names in groups.values():
        for name, target in names.items():
            module, cls = target.split(":")
            assert f"# {module}.py" in written
            assert f"class {cls}(" in written
            assert name in written

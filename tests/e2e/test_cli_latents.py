"""encode, reconstruct, interpolate, classify: against the library, and what each says where it cannot."""

import csv
import errno
import json

import numpy as np
import pytest
import torch

from protgen.data.image_files import load_digits
from protgen.data.images import dequantise, to_batch
from protgen.models.image_presets import build_image_model
from protgen.models.model import build_model, load_model, save_model
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_models, read_structure
from protgen.structure.writer import write_structure

VAE = {
    "space": {"name": "backbone"},
    "encoder": {"name": "egnn", "dim": 16, "blocks": 1},
    "decoder": {"name": "egnn", "dim": 16, "blocks": 1},
    "family": {"name": "vae", "latent_dim": 5},
    "conditions": ["length", "fold_class"],
}


@pytest.fixture(scope="module")
def protein_vae(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vae") / "model"
    save_model(build_model(VAE), folder, torch.float32)
    return folder


@pytest.fixture(scope="module")
def image_vae(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("image") / "model"
    save_model(build_image_model(load_digits(), "vae", encoder={"dim": 16}), folder, torch.float32)
    return folder


@pytest.fixture(scope="module")
def shades_model(tmp_path_factory):
    """A classical model fitted to all training digits."""
    digits = load_digits()
    model = build_image_model(digits, "classical", encoder={"dim": 8})
    train = digits.of("train")
    batch = to_batch(train, np.arange(len(train)))
    rng = torch.Generator().manual_seed(0)
    cond = model.conditions.from_data(batch, rng, {"class_label": 0.0})
    model.family.train().loss(model.family.space.encode(batch), cond, rng)
    folder = tmp_path_factory.mktemp("classical") / "model"
    save_model(model, folder, torch.float32)
    return folder


@pytest.fixture(scope="module")
def helices(tmp_path_factory):
    """Two helices of 24 residues, one of 30, and a file that is none."""
    folder = tmp_path_factory.mktemp("helices")
    for name, length in (("a", 24), ("b", 24), ("long", 30)):
        atoms = ideal_helix(length)
        atoms = atoms + np.linspace(0, 3, length)[:, None, None] * (name == "b")
        write_structure(Protein.from_backbone(atoms), folder / f"{name}.pdb")
    return folder


def table_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_encode_gives_the_latents_of_the_family(cli, protein_vae, helices, tmp_path):
    """One array for each file, that of the library; one file that is no structure is named, and the code is 3."""
    (helices / "broken.pdb").write_text("no structure\n")
    done = cli("encode", helices, "--model", protein_vae, "--out", tmp_path / "z.npz", "--json")
    (helices / "broken.pdb").unlink()
    assert done.code == 3
    assert len(done.errors) == 1
    assert json.loads(done.out)["shapes"] == {"a.pdb": [24, 5], "b.pdb": [24, 5], "long.pdb": [30, 5]}
    model = load_model(protein_vae)
    from protgen.evaluation.likelihood import state_of

    state = state_of(read_structure(helices / "b.pdb"), model)
    with torch.no_grad():
        latents = model.family.encode(state, model.conditions.unknown(state.mask))[0]
    with np.load(tmp_path / "z.npz", allow_pickle=False) as file:
        assert np.allclose(file["b.pdb"], latents.numpy(), atol=1e-6)
    drawn = cli("encode", helices / "a.pdb", "--model", protein_vae, "--draw", 1, "--out", tmp_path / "d.npz")
    assert drawn.code == 0
    with np.load(tmp_path / "d.npz") as one, np.load(tmp_path / "z.npz") as two:
        assert not np.allclose(one["a.pdb"], two["a.pdb"], atol=1e-3)


def test_reconstruct_writes_structures_and_their_rmsd(cli, protein_vae, helices, tmp_path):
    done = cli("reconstruct", helices / "a.pdb", "--model", protein_vae, "--out", tmp_path / "again")
    assert done.code == 0, done.err
    (row,) = table_of(tmp_path / "again" / "reconstructions.csv")
    before = read_structure(helices / "a.pdb").atoms[:, 1]
    after = read_structure(tmp_path / "again" / row["file"]).atoms[:, 1]
    # An independent program: SciPy's rotation between the centred traces.
    from scipy.spatial.transform import Rotation

    before, after = before - before.mean(0), after - after.mean(0)
    _, distance = Rotation.align_vectors(before, after)
    assert float(row["ca_rmsd"]) == pytest.approx(distance / 24**0.5, abs=2e-3)


def test_interpolate_begins_and_ends_at_the_reconstructions(cli, protein_vae, helices, tmp_path):
    """A file of several models and a picture; the first model is what is left of the first structure."""
    out = tmp_path / "path.pdb"
    done = cli("interpolate", helices / "a.pdb", helices / "b.pdb", "--model", protein_vae, "-n", 4, "--out", out)
    assert done.code == 0, done.err
    models = read_models(out)
    assert len(models) == 4
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")
    assert cli("reconstruct", helices / "a.pdb", "--model", protein_vae, "--out", tmp_path / "again").code == 0
    again = read_structure(next((tmp_path / "again").glob("*.pdb")))
    assert np.allclose(models[0].atoms[:, :3], again.atoms[:, :3], atol=2e-3)
    refused = ("--model", protein_vae, "--out", out)
    cli("interpolate", helices / "a.pdb", helices / "long.pdb", *refused).assert_failed(2, "24 residues", "30")
    cli("interpolate", helices / "a.pdb", *refused).assert_failed(2, "give two")
    cli("interpolate", helices / "a.pdb", helices / "b.pdb", "--model", protein_vae, "--out", "x.cif").assert_failed(
        2, ".pdb"
    )


def test_the_same_of_images(cli, image_vae, tmp_path):
    done = cli("encode", "--images", "0-4,9", "--model", image_vae, "--out", tmp_path / "z.npz", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["shapes"] == {str(k): [1, 32] for k in (0, 1, 2, 3, 4, 9)}
    done = cli("reconstruct", "--images", "0-12", "--model", image_vae, "--out", tmp_path / "again")
    assert done.code == 0, done.err
    rows = table_of(tmp_path / "again" / "reconstructions.csv")
    labels = load_digits().of("test").labels[:13]
    assert [int(row["label"]) for row in rows] == labels.tolist()
    assert (tmp_path / "again" / "reconstructions.png").is_file()
    done = cli("interpolate", "--images", "3,7", "--model", image_vae, "--out", tmp_path / "line.png")
    assert done.code == 0, done.err
    for numbers, word in (("0-x", "0-9,17"), ("300", "numbered from 0"), ("5-2", "0-9,17"), ("0-99999", "at most")):
        cli("encode", "--images", numbers, "--model", image_vae, "--out", tmp_path / "z.npz").assert_failed(2, word)


def test_classify_is_bayes_rule_over_the_ten_digits(cli, shades_model, tmp_path):
    """p of each class is a softmax of the class densities, and discriminant analysis knows most digits."""
    done = cli("classify", "--images", "0-39", "--model", shades_model, "--out", tmp_path / "c.csv", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["accuracy"] >= 0.9
    rows = table_of(tmp_path / "c.csv")
    assert rows[0]["kind"] == "exact"
    model, digits = load_model(shades_model), load_digits()
    for number in (0, 17):
        batch = to_batch(digits.of("test"), np.array([number]))
        x = model.family.space.encode(dequantise(batch, torch.Generator().manual_seed(number)))
        nats = torch.zeros(10, dtype=torch.double)
        for k in range(10):
            cond = model.conditions.from_data(
                type(batch)(dict(batch.arrays) | {"class_label": torch.tensor([k])}, batch.mask),
                torch.Generator(), {"class_label": 0.0},
            )  # fmt: skip
            nats[k] = model.family.nats(x, cond)[0].double()
        wanted = (nats - nats.logsumexp(0)).exp()
        found = [float(rows[number][f"p_{k}"]) for k in range(10)]
        assert found == pytest.approx(wanted.tolist(), abs=1e-3)


def test_classify_a_structure_by_its_fold_class(cli, protein_vae, helices, tmp_path):
    done = cli("classify", helices / "a.pdb", "--model", protein_vae, "--by", "fold_class", "--out", tmp_path / "c.csv")
    assert done.code == 0, done.err
    (row,) = table_of(tmp_path / "c.csv")
    assert sum(float(row[f"p_{fold}"]) for fold in ("alpha", "beta", "mixed")) == pytest.approx(1, abs=1e-5)
    assert row["kind"] == "lower_bound"


@pytest.mark.parametrize("unwritable", ["a folder", "a full disk"])
def test_a_file_that_cannot_be_written_is_one_line(cli, image_vae, shades_model, tmp_path, monkeypatch, unwritable):
    """A folder of its name is told before anything is computed, a full disk when it is; neither leaves a file."""
    commands = {
        "z.npz": ("encode", "--images", "0-2", "--model", image_vae),
        "line.png": ("interpolate", "--images", "0,7", "--model", image_vae),
        "grid.png": ("sample-images", "-n", 2, "--model", image_vae),
        "table.csv": ("classify", "--images", "0", "--model", shades_model),
    }
    if unwritable == "a full disk":

        def full(source, target):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("protgen.atomic.os.replace", full)
    for name, command in commands.items():
        if unwritable == "a folder":
            (tmp_path / name).mkdir()
        word = "is a folder" if unwritable == "a folder" else "cannot be written: No space left"
        cli(*command, "--out", tmp_path / name).assert_failed(2, name, word)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_picture_beside_structures_that_cannot_be_written_is_one_line(cli, protein_vae, helices, tmp_path):
    (tmp_path / "path.png").mkdir()
    ends = (helices / "a.pdb", helices / "b.pdb")
    cli("interpolate", *ends, "--model", protein_vae, "--out", tmp_path / "path.pdb").assert_failed(2, "path.png")
    assert not (tmp_path / "path.pdb").exists()


def test_a_run_is_taken_for_its_model(cli, protein_vae, helices, tmp_path):
    """By the commands of latents and by those of designs: RUN has its model in RUN/model."""
    run = protein_vae.parent
    assert cli("encode", helices / "a.pdb", "--model", run, "--out", tmp_path / "z.npz").code == 0
    assert cli("sample", "--model", run, "--length", 12, "-n", 1, "--no-relax", "--out", tmp_path / "d").code == 0
    measured = cli("evaluate", helices / "a.pdb", "--likelihood", run, "--out", tmp_path / "ev")
    assert measured.code == 0, measured.err
    cli("sample", "--model", tmp_path, "--length", 12, "--out", tmp_path / "x").assert_failed(2, "or as a run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("encode", "FILE", "--model", "flow-small", "--out", "z.npz"), ("no latents",)),
        (("encode", "FILE", "--model", "PROTEIN", "--out", "z.txt"), (".npz",)),
        (("encode", "--model", "PROTEIN", "--out", "z.npz"), ("give structure files",)),
        (("encode", "FILE", "--model", "IMAGE", "--out", "z.npz"), ("--images",)),
        (("encode", "--images", "1", "--model", "PROTEIN", "--out", "z.npz"), ("of structures",)),
        (("reconstruct", "FILE", "--model", "diffusion-small", "--out", "again"), ("no latents",)),
        (("classify", "FILE", "--model", "PROTEIN", "--by", "length", "--out", "c.csv"), ("fold_class",)),
        (("classify", "--images", "1", "--model", "IMAGE", "--by", "fold", "--out", "c.csv"), ("class_label",)),
        (("classify", "FILE", "--model", "nothing", "--out", "c.csv"), ("nothing",)),
        (("classify", "FILE", "--model", "PROTEIN", "--by", "fold_class", "--out", "c.txt"), ("c.txt", ".csv")),
        (("encode", "--images", "1", "--model", "IMAGE", "--data", "mnist", "--out", "z.npz"), ("--folder DIR",)),
        (("encode", "--images", "1", "--model", "IMAGE", "--folder", ".", "--out", "z.npz"), ("--folder .", "digits")),
        (("encode", "FILE", "--model", "PROTEIN", "--out", "no/such/z.npz"), ("no/such", "make it first")),
    ],
)
def test_what_cannot_be_is_one_line(cli, protein_vae, image_vae, helices, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    places = {"FILE": helices / "a.pdb", "PROTEIN": protein_vae, "IMAGE": image_vae}
    cli(*(places.get(part, part) for part in arguments)).assert_failed(2, *words)
    assert not list(tmp_path.iterdir())

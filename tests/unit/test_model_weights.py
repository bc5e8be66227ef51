"""Weights of model folders by value: what is wrong is refused by name in one line, before anything is mapped."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from protgen.cli.design_record import describe_model
from protgen.cli.train_start import begin_from
from protgen.errors import CheckpointError, ConfigError
from protgen.integrity import fingerprint, sealed
from protgen.models import checksums
from protgen.models.checksums import FILE, SUMMED, check_checksums
from protgen.models.files import is_finite, load_tensors
from protgen.models.headers import check_fit
from protgen.models.model import build_model, load_model, load_weights, save_model
from protgen.models.released import weights_folder
from protgen.tensor_header import METADATA, Kind, read_header
from tests.unit.test_hostile_models import SMALL

VALUE = torch.tensor(0.0)


@pytest.fixture
def sealed_folder(tmp_path):
    """A whole model folder."""
    torch.manual_seed(0)
    save_model(build_model(SMALL), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def folder(sealed_folder):
    """The same without checksums, as release 0.1 wrote it: content alone is looked at."""
    (sealed_folder / FILE).unlink()
    return sealed_folder


def refused(folder) -> str:
    """The one line by which a folder is refused."""
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    message = str(error.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def rewrite(folder, change) -> str:
    """Change the weights; returns the name of the first that has several values."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if tensors[name].numel() > 1)
    change(tensors, name)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return name


def rewrite_header(folder, change) -> None:
    """Change the text of the header of the weights; their values stay."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = change(data[8 : 8 + length].decode()).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


def changed_entry(text: str, **values) -> str:
    """The header with other values of its first entry."""
    header = json.loads(text)
    header[min(header)] |= values
    return json.dumps(header)


def test_an_extra_tensor_is_refused(folder):
    rewrite(folder, lambda tensors, name: tensors.update(stranger=torch.zeros(2)))
    assert "stranger is missing in the config" in refused(folder)


def test_a_missing_tensor_is_refused(folder):
    name = rewrite(folder, lambda tensors, name: tensors.pop(name))
    assert f"{name} is missing in the file" in refused(folder)


def test_another_shape_is_refused(folder):
    name = rewrite(folder, lambda tensors, name: tensors.update({name: tensors[name].flatten()[:1]}))
    assert f"{name} has shape (1,), config.json asks for" in refused(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(folder, value):
    name = rewrite(folder, lambda tensors, name: tensors[name].view(-1)[-1:].fill_(value))
    assert f"{name} holds values that are not finite" in refused(folder)


def test_a_number_that_is_infinite_in_float32_is_refused(folder):
    """1e300 is finite in the file's float64; 1.5 of it is taken."""

    def widen(value):
        return lambda tensors, name: tensors.update({name: torch.full_like(tensors[name], value, dtype=torch.float64)})

    name = rewrite(folder, widen(1.5))
    assert (load_model(folder).family.state_dict()[name] == 1.5).all()
    rewrite(folder, widen(1e300))
    assert f"{name} holds values that are not finite" in refused(folder)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint8, torch.bool])
def test_whole_numbers_and_flags_are_no_weights(folder, dtype):
    name = rewrite(folder, lambda tensors, name: tensors.update({name: tensors[name].to(dtype)}))
    assert f"{name} holds {str(dtype)[6:]}, and float32 is asked for" in refused(folder)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2])
def test_types_that_no_file_of_ours_has_are_refused(folder, dtype):
    name = rewrite(folder, lambda tensors, name: tensors.update({name: tensors[name].float().to(dtype)}))
    assert f"{name}: holds" in refused(folder)


def test_a_name_that_comes_twice_is_refused(folder):
    """Safetensors itself takes the last of them."""

    def twice(text: str) -> str:
        name, entry = min(json.loads(text).items())
        return "{" + json.dumps(name) + ":" + json.dumps(entry) + "," + text[1:]

    rewrite_header(folder, twice)
    load_file(folder / "model.safetensors")
    assert "is given twice" in refused(folder)


def test_a_tensor_by_the_names_of_two_releases_is_refused():
    held = {"whole.weight": VALUE, "globals.weight": VALUE}
    with pytest.raises(CheckpointError, match="two names"):
        check_fit({"globals.weight": VALUE}, held, "x")
    check_fit({"globals.weight": VALUE}, {"whole.weight": VALUE}, "x")


def test_an_oversized_tensor_is_refused_before_it_is_mapped(folder):
    """A file of 40 GB by its header, which is a hole on the disk."""
    path, big = folder / "model.safetensors", 40_000_000_000

    def add(text: str) -> str:
        header = json.loads(text)
        end = max(entry["data_offsets"][1] for key, entry in header.items() if key != METADATA)
        header["zz"] = {"dtype": "F32", "shape": [big // 4], "data_offsets": [end, end + big]}
        return json.dumps(header)

    rewrite_header(folder, add)
    os.truncate(path, path.stat().st_size + big)
    assert "zz is missing in the config" in refused(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shape": [-1]}, "no shape"), ({"shape": [1.0]}, "no shape"), ({"shape": [True]}, "no shape"),
        ({"shape": [1] * 17}, "no shape"), ({"shape": "4"}, "no shape"), ({"shape": [10**30]}, "no shape"),
        ({"shape": [2**40] * 16}, "in place of"), ({"data_offsets": [0]}, "no place"), ({"dtype": 3}, "holds"),
        ({"data_offsets": [8, 0]}, "in place of"), ({"data_offsets": None}, "no place"), ({"more": 1}, "its entry"),
    ],
)  # fmt: skip
def test_entries_of_a_header_are_looked_at(folder, values, words):
    rewrite_header(folder, lambda text: changed_entry(text, **values))
    assert words in refused(folder)


def of_length(n: int, rest: bytes) -> bytes:
    """A file that says its header has n bytes."""
    return n.to_bytes(8, "little") + rest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "header cannot be read"), (b"\0" * 7, "header cannot be read"), (b"\xff" * 8, "header cannot be read"),
        (of_length(10, b"{}"), "header cannot be read"), (of_length(2, b"\xff\xff"), "utf-8"),
        (of_length(2, b"[]"), "no JSON object"), (of_length(2, b"{}x"), "1 bytes of values"),
        (of_length(2, b"{}"), "is missing in the file"), (of_length(9, b'{"a\\n":1}'), "is no name of a tensor"),
    ],
)  # fmt: skip
def test_files_that_are_no_weights_are_refused(folder, content, words):
    (folder / "model.safetensors").write_bytes(content)
    assert words in refused(folder)


def test_gaps_and_overlaps_of_values_are_refused(tmp_path):
    def header(*spans) -> None:
        entries = {str(k): {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]} for k, (a, b) in enumerate(spans)}
        text = json.dumps(entries).encode()
        (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))

    for spans in ([(0, 4), (5, 8)], [(0, 4), (3, 8)], [(1, 8)]):
        header(*spans)
        with pytest.raises(CheckpointError, match="gap or overlap"):
            read_header(tmp_path / "x")
    header((4, 8), (0, 4))
    assert read_header(tmp_path / "x")["1"] == Kind(torch.uint8, (4,))
    assert load_tensors(tmp_path / "x")["0"].tolist() == [0] * 4


def test_buffers_of_whole_numbers_take_them_and_what_equals_them():
    """As integers, or as floats, as a model folder has them; 2.5 is none."""
    module = torch.nn.BatchNorm1d(2)
    state = dict(module.state_dict())
    for value in (torch.tensor(7), torch.tensor(7.0)):
        load_weights(module, state | {"num_batches_tracked": value}, "x")
        assert module.num_batches_tracked.item() == 7
    for value in (torch.tensor(2.5), torch.tensor(float("nan")), torch.tensor(True)):
        with pytest.raises(CheckpointError, match="num_batches_tracked holds"):
            load_weights(module, state | {"num_batches_tracked": value}, "x")


def test_a_finite_sum_is_no_condition_of_finite_values():
    """A sum that overflows says nothing; NaN and infinities of both signs are found."""
    large = torch.full((4,), 3e38)
    assert is_finite(large)
    assert is_finite(torch.tensor([2**62]))
    assert not is_finite(torch.tensor([float("inf"), -float("inf"), 1.0]))
    assert not is_finite(torch.tensor([float("nan")], dtype=torch.bfloat16))


def test_zeroed_bytes_of_weights_are_named(sealed_folder):
    """Zeros are weights, and without checksums they would load."""
    path = sealed_folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-64] + bytes(64))
    assert "model.safetensors has other bytes than were written; get or train the model again" in refused(sealed_folder)
    path.write_bytes(data[:-64])
    assert "model.safetensors has " in refused(sealed_folder)
    path.write_bytes(data)
    load_model(sealed_folder)


def test_a_part_that_was_not_written_or_is_gone_is_named(sealed_folder):
    (sealed_folder / "blueprints.json").write_text("{}")
    assert f"blueprints.json is not in {FILE}" in refused(sealed_folder)
    (sealed_folder / "blueprints.json").unlink()
    (sealed_folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refused(sealed_folder)


def test_damaged_checksums_are_refused(sealed_folder):
    path = sealed_folder / FILE
    whole = json.loads(path.read_text())
    weights = whole["files"]["model.safetensors"]
    for content in (
        {}, whole | {"files": {}}, whole["files"], sealed({"files": {}}), sealed({"files": [1]}),
        sealed({"files": None}), sealed({"files": {"model.safetensors": weights, "../x": weights}}),
        sealed({"files": {"model.safetensors": None}}),
        sealed({"files": {"model.safetensors": weights | {"bytes": "\n"}}}),
    ):  # fmt: skip
        path.write_text(json.dumps(content))
        refused(sealed_folder)
    path.write_text("")
    assert "not JSON" in refused(sealed_folder)


def test_a_folder_that_is_written_meanwhile_is_looked_at_again(sealed_folder, tmp_path, monkeypatch):
    """A training replaces weights, then checksums: who reads the old checksums first is not told of damage."""
    other = tmp_path / "other"
    save_model(build_model(SMALL), other)
    shutil.copy(other / "model.safetensors", sealed_folder)
    look = checksums.damage

    def then_written(folder, known):
        found = look(folder, known)
        shutil.copy(other / FILE, sealed_folder)
        return found

    monkeypatch.setattr(checksums, "damage", then_written)
    check_checksums(sealed_folder)


def test_a_save_that_is_killed_leaves_no_checksums_of_other_weights(sealed_folder, monkeypatch):
    monkeypatch.setattr("protgen.models.model.write_checksums", lambda folder: None)
    save_model(build_model(SMALL), sealed_folder)
    assert not (sealed_folder / FILE).exists()
    load_model(sealed_folder)


def test_checksums_are_no_part_of_what_identifies_a_model(sealed_folder):
    """Runs of before are resumed with a folder that has checksums since."""
    request = describe_model("x", sealed_folder)
    (sealed_folder / FILE).unlink()
    assert describe_model("x", sealed_folder) == request
    assert set(request) == {"name", "sha256"}


def test_an_edited_configuration_is_not_covered(sealed_folder):
    """Settings of sampling are for users to edit."""
    (sealed_folder / "config.json").write_text(json.dumps(SMALL | {"sampling": {"steps": 12}}))
    assert load_model(sealed_folder).config["sampling"] == {"steps": 12}


def test_a_training_does_not_begin_from_damaged_weights(sealed_folder):
    model, path = build_model(SMALL), sealed_folder / "model.safetensors"
    begin_from(str(sealed_folder), model)
    path.write_bytes(path.read_bytes()[:-64] + bytes(64))
    for start in (str(sealed_folder), {"encoder": f"{sealed_folder}/encoder"}):
        with pytest.raises(ConfigError, match="other bytes than were written"):
            begin_from(start, model)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in weights_folder().glob("*/config.json")))
def test_released_models_are_what_was_released(name):
    """Each has checksums of all that it has, and they match."""
    folder = weights_folder() / name
    listed = json.loads((folder / FILE).read_text())["files"]
    assert set(listed) == {part for part in SUMMED if (folder / part).is_file()}
    assert listed["model.safetensors"] == fingerprint(folder / "model.safetensors")
    check_checksums(folder)


def test_a_transformer_over_torsions_reads_them(tmp_path):
    """Where nobody says what it reads; a folder of before, which says nothing, keeps the frames it was trained on."""
    own = {"fields": {"torsions": 3, "angles": 3}, "circles": ["torsions"]}
    config = {
        "space": {"name": "torsions"}, "encoder": {"name": "transformer", "dim": 16, "blocks": 1},
        "family": {"name": "normalizing_flow", "steps": 2}, "conditions": ["length"],
    }  # fmt: skip
    model = build_model(config)
    assert model.config["encoder"] == config["encoder"] | own
    frames = config | {"encoder": config["encoder"] | {"fields": {"trans": 3, "rots": 9}}}
    assert build_model(frames).config["encoder"] == frames["encoder"]  # asked for
    torch.manual_seed(0)
    before = build_model(frames)
    save_model(replace(before, config=config), tmp_path / "before")
    found = load_model(tmp_path / "before")
    assert found.config["encoder"] == frames["encoder"]
    decoder = {"decoder": {"name": "transformer", "dim": 16, "blocks": 1}}
    reader = {"encoder": {"name": "egnn", "dim": 16, "blocks": 1}, "family": {"name": "vae", "latent_dim": 2}}
    assert build_model(config | reader | decoder).config["decoder"] == decoder["decoder"] | own
    on_frames = config | {"space": {"name": "backbone"}, "family": {"name": "flow_matching"}}
    assert build_model(on_frames).config["encoder"] == config["encoder"]

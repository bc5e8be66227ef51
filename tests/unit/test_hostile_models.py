"""Model folders from strangers: every damage is a model that loads or one line that names the file."""

import json
import os
import random
import shutil

import pytest
import torch

from protgen.errors import CheckpointError
from protgen.models.checksums import FILE
from protgen.models.model import build_model, load_model, save_model

SMALL = {
    "space": {"name": "backbone"},
    "encoder": {"name": "frame_attention", "dim": 16, "pair_dim": 4, "blocks": 1, "heads": 2, "refresh": 1},
    "family": {"name": "flow_matching"},
    "conditions": ["length"],
    "about": {"lengths": [10, 60]},
}
STRANGE = [None, True, -1, 0, 3, 10**6, 10**30, -0.5, 1e308, "", "x", "os:getcwd", [], [[]], {}, {"name": "x"}]
N = int(os.environ.get("PROTGEN_FUZZ", "200"))


@pytest.fixture
def folder(tmp_path):
    """A whole model folder, without checksums: who means harm makes them anew."""
    torch.manual_seed(0)
    save_model(build_model(SMALL), tmp_path / "model")
    (tmp_path / "model" / FILE).unlink()
    return tmp_path / "model"


def places(value, at=()):
    """Every entry of a configuration, by its keys."""
    if at:
        yield at
    for key, entry in value.items() if isinstance(value, dict) else ():
        yield from places(entry, (*at, key))


def replaced(config, at, value):
    """The configuration with another value at a place."""
    copy = json.loads(json.dumps(config))
    holder = copy
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return copy


def outcome(folder) -> str:
    """ "" for a model that loads, else the message of its one line."""
    try:
        load_model(folder)
    except CheckpointError as error:
        message = str(error)
    else:
        return ""
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_any_value_in_any_place_of_a_configuration_loads_or_is_refused(folder):
    """Sixteen strange values in each of its places: 1e30 blocks cost no more than a word in place of a number."""
    refused = 0
    for at in places(SMALL):
        for value in STRANGE:
            (folder / "config.json").write_text(json.dumps(replaced(SMALL, at, value)))
            refused += bool(outcome(folder))
    assert refused > 100
    (folder / "config.json").write_text(json.dumps(SMALL))
    assert outcome(folder) == ""


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (("encoder", "dim"), 10**9, "encoder.dim is 1000000000; at most 65,536"),
        (("encoder", "blocks"), 1001, "encoder.blocks is 1001; at most 1,000"),
        (("encoder", "dim"), 65_536, "config.json asks for"),  # 30 GB, if it were made
        (("encoder", "blocks"), 1000, "config.json asks for"),  # each of them small
        (("encoder", "name"), "subprocess:Popen", "is no Encoder"),
        (("about", "lengths"), [60, 10], "the shorter first"),
    ],
)
def test_sizes_are_refused_before_they_are_made(folder, at, value, words):
    """By the file's own header where a size is possible, but not its own."""
    (folder / "config.json").write_text(json.dumps(replaced(SMALL, at, value)))
    assert words in outcome(folder)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (("space", "noise_scale"), "x", 'noise_scale of backbone is "x"; give a number'),
        (("space", "noise_scale"), None, "noise_scale of backbone is null; give a number"),
        (("space", "noise_scale"), [1], "noise_scale of backbone is [1]; give a number"),
        (("space", "noise_scale"), {}, "noise_scale of backbone is {}; give a number"),
        (("space", "noise_scale"), True, "noise_scale of backbone is true; give a number"),
        (("space", "noise_scale"), -1, "noise_scale -1: noise has a positive width"),
        (("space", "noise_scale"), 0, "noise_scale 0: noise has a positive width"),
        (("space", "noise_scale"), 1e300, "space.noise_scale is 1e+300; at most 1,000,000,000 is possible"),
        (("encoder", "neighbours"), 1.5, "neighbours of frame_attention is 1.5; give a whole number or null"),
        (("encoder", "neighbours"), -1, "neighbours of frame_attention is -1; give a whole number, at least 0"),
        (("encoder", "heads"), 0, "heads of frame_attention is 0; give a whole number, at least 1"),
        (("encoder", "name"), None, "encoder.name is null; give the name of one"),
        (("family", "min_t"), -5, "min_t -5 is a time above 0, up to 1"),
        (("family", "data_bias"), "x", 'data_bias of flow_matching is "x"; give a number'),
        (("family", "self_conditioning"), "x", 'self_conditioning of flow_matching is "x"; give a number'),
        (("family", "self_conditioning"), 2, "self_conditioning 2: a probability, from 0 to 1"),
        (("conditions",), None, "conditions is null; give a list of names"),
        (("conditions",), "length", 'conditions is "length"; give a list of names'),
    ],
)
def test_a_value_that_would_fail_in_sampling_is_refused_with_its_key(folder, at, value, words):
    """A model that loads with it would end in an error of torch's, or in designs of nothing that anybody meant."""
    (folder / "config.json").write_text(json.dumps(replaced(SMALL, at, value)))
    assert words in outcome(folder)


def test_damaged_bytes_of_a_model_load_or_are_refused(folder, tmp_path):
    """Seeded changes of bytes, cuts and repeats of the configuration and of the weights' header."""
    rng = random.Random(3)
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    refused = 0
    for number in range(N):
        name = ("config.json", "model.safetensors")[number % 2]
        data = bytearray((whole / name).read_bytes())
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(min(len(data), 3000))
            if rng.random() < 0.7:
                data[at] = rng.randrange(256)
            else:
                del data[at : at + rng.choice((1, 7, 400))]
        (folder / name).write_bytes(bytes(data))
        refused += bool(outcome(folder))
        shutil.copy(whole / name, folder / name)
    assert refused > N // 4
    assert outcome(folder) == ""

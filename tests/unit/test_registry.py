"""Look-up of plug-ins: every file is found, and a typing error is told."""

import pytest

from protgen import registry
from protgen.errors import ConfigError


@pytest.mark.parametrize("kind", sorted(registry.BASES))
def test_every_plugin_has_the_name_of_its_file_and_its_base(kind):
    """Whatever `names` lists can be imported and is a subclass of the base of its kind."""
    names = registry.names(kind)
    assert names
    assert "base" not in names
    for name in names:
        cls = registry.find(kind, name)
        assert cls.__module__ == f"protgen.{kind}.{name}"
        assert registry.BASES[kind] in {base.__name__ for base in cls.__mro__}


def test_conditions_carry_their_registry_name():
    """The name in files and messages is the one to look it up by."""
    for name in registry.names("conditions"):
        assert registry.find("conditions", name).name == name


def test_typing_errors_suggest_the_nearest():
    """Names, keywords and kinds."""
    with pytest.raises(ConfigError, match="did you mean 'euler'"):
        registry.find("samplers", "eulr")
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        registry.build("samplers", "euler", stpes=3)
    with pytest.raises(ConfigError, match="did you mean 'samplers'"):
        registry.names("sampler")
    with pytest.raises(ConfigError, match="needs the keyword 'residue_dim'"):
        registry.build("encoders", "frame_attention", global_dim=3)


def test_build_passes_keywords():
    """The object has what was given."""
    assert registry.build("samplers", "euler", steps=7).steps == 7

"""Look-up of plug-ins: every file is found, however its class is written, and the rest is reported in a line."""

import importlib
import subprocess
import sys
import warnings

import pytest

from protgen import registry
from protgen.arguments import expected
from protgen.errors import ConfigError, PluginWarning
from protgen.models.model import build_model


@pytest.mark.parametrize("kind", sorted(registry.BASES))
def test_every_plugin_has_the_name_of_its_file_and_its_base(kind):
    """Whatever protgen has can be imported and is a subclass of the base of its kind."""
    names = registry.own_plugins(kind)
    assert names
    assert "base" not in names
    assert set(names) <= set(registry.names(kind))
    for name in names:
        cls = registry.find(kind, name)
        assert cls.__module__ == f"protgen.{kind}.{name}"
        assert registry.BASES[kind] in {base.__name__ for base in cls.__mro__}
        assert registry.reference(kind, cls) == name


def test_listing_names_imports_no_torch():
    """In a process of its own: names of all kinds, and torch is not loaded."""
    code = "import sys; from protgen import registry; [registry.names(k) for k in registry.BASES]; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "protgen.registry" in out.split()
    assert not {"torch", "protgen.encoders.egnn", "protgen.metrics.bonds"} & set(out.split())


def test_conditions_carry_their_registry_name():
    """The name in files and messages is the one to look it up by."""
    for name, cls in registry.classes("conditions").items():
        assert cls.name == name


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


@pytest.mark.parametrize(
    ("name", "keyword", "value", "words"),
    [
        ("egnn", "dim", "two", 'dim of egnn is "two"; give a whole number'),
        ("egnn", "dim", -4, "dim of egnn is -4; give a whole number"),
        ("egnn", "dim", 0, "dim of egnn is 0; give a whole number, at least 1"),
        ("egnn", "blocks", -1, "blocks of egnn is -1; give a whole number, at least 0"),
        ("egnn", "dim", 2.0, "dim of egnn is 2.0; give a whole number"),
        ("egnn", "dim", True, "dim of egnn is true; give a whole number"),
        ("egnn", "dim", None, "dim of egnn is null; give a whole number"),
        ("transformer", "dropout", "x", "takes no keyword 'dropout'"),
    ],
)
def test_values_of_another_kind_name_the_keyword_and_what_it_takes(name, keyword, value, words):
    with pytest.raises(ConfigError) as error:
        registry.build("encoders", name, residue_dim=3, global_dim=3, **{keyword: value})
    assert words in str(error.value)


def test_fields_of_settings_are_looked_at_too():
    """A number may be whole where any is taken; null is taken where the annotation has it."""
    assert [expected(each, float) for each in (1, 0.5, -1, "1")] == ["", "", "", "a number"]
    assert [expected(each, int | None) for each in (None, 3, "3")] == ["", "", "a whole number or null"]
    assert [expected(each, list[int]) for each in ([1], "anything")] == ["", "a list"]
    with pytest.raises(ConfigError, match='beta of vae is "abc"; give a number'):
        build_model(
            {
                "space": {"name": "torsions"},
                "encoder": {"name": "egnn", "dim": 8, "blocks": 1},
                "decoder": {"name": "transformer", "dim": 8, "blocks": 1, "fields": {"torsions": 3, "angles": 3}},
                "family": {"name": "vae", "beta": "abc"},
                "conditions": [],
            }
        )


BODY = """
    {name}
    requires = ("ca",)
    quantities = (Quantity("{quantity}", "Å", None, "for a test"),)

    def measure(self, sample):
        return {{"{quantity}": 1.0}}
"""


def metric(cls, name=None, quantity="q"):
    declared = "" if name is None else f'name = "{name}"'
    return f"class {cls}:" + BODY.format(name=declared, quantity=quantity)


HEAD = "from protgen.metrics.base import Metric, Quantity\nfrom protgen.structure.protein import Protein\n"
SPELLINGS = {
    "subscript": HEAD + metric("MaxDimension(Metric[Protein])", "max_dimension"),
    "attribute": "from protgen.metrics import base\nfrom protgen.metrics.base import Quantity\n"
    + metric("MaxDimension(base.Metric)", "max_dimension"),
    "dotted": "import protgen.metrics.base\nfrom protgen.metrics.base import Quantity\n"
    + metric("MaxDimension(protgen.metrics.base.Metric)", "max_dimension"),
    "renamed": "from protgen.metrics.base import Metric as M, Quantity\n"
    + metric("MaxDimension(M[int])", "max_dimension"),
    "alias": HEAD + "ProteinMetric = Metric[Protein]\n" + metric("MaxDimension(ProteinMetric)", "max_dimension"),
    "relative": "from .base import Metric, Quantity\n" + metric("MaxDimension(Metric)", "max_dimension"),
    "own base": HEAD
    + "from abc import ABC\nclass Dimension(Metric[Protein], ABC):\n    unit = 'Å'\n"
    + metric("MaxDimension(Dimension)", "max_dimension"),
    "two lines": HEAD + metric("MaxDimension(\n    Metric[Protein],\n)", "max_dimension"),
}


@pytest.fixture
def metrics_folder(tmp_path, monkeypatch):
    """A folder whose files count as files of protgen/metrics; what is imported from it is forgotten after."""
    import protgen.metrics

    before = set(sys.modules)
    monkeypatch.setattr(protgen.metrics, "__path__", [*protgen.metrics.__path__, str(tmp_path)])
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("protgen.metrics.") and str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_class_is_found_however_its_base_is_written(spelling, metrics_folder):
    """Generic, dotted, renamed, aliased, relative, by way of a class of its own, over several lines."""
    (metrics_folder / "max_dimension.py").write_text(SPELLINGS[spelling], encoding="utf-8")
    assert registry.find("metrics", "max_dimension").__name__ == "MaxDimension"
    assert registry.build("metrics", "max_dimension").measure(None) == {"q": 1.0}


def test_two_metrics_in_a_file_are_two_metrics(metrics_folder):
    """Each under the name it declares."""
    text = HEAD + metric("MaxDimension(Metric[Protein])", "max_dimension") + metric("Other(Metric)", "other", "r")
    (metrics_folder / "max_dimension.py").write_text(text, encoding="utf-8")
    assert registry.find("metrics", "other").__name__ == "Other"
    assert {"max_dimension", "other", "bonds"} <= set(registry.names("metrics"))


def test_of_unnamed_classes_the_one_named_after_the_file_is_the_plugin(metrics_folder):
    """Helpers in the same file, private, abstract, derived from, or of another kind, are none."""
    text = (
        HEAD + "import abc\n" + metric("MaxDimension(Metric)") + metric("Helper(Metric)") + metric("_Private(Metric)")
    )
    text += "class Half(Metric):\n    @abc.abstractmethod\n    def half(self): ...\n"
    (metrics_folder / "max_dimension.py").write_text(text, encoding="utf-8")
    (metrics_folder / "helpers.py").write_text("class Nothing:\n    pass\n", encoding="utf-8")
    found = set(registry.names("metrics")) - {p for p in registry.names("metrics") if p in ("bonds", "clashes")}
    assert "max_dimension" in found
    assert not {"Helper", "helpers", "_Private", "Half"} & found
    with pytest.raises(ConfigError, match="has no name; declare the class attribute"):
        registry.find("metrics", "max_dimension")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"unclear.py": HEAD + metric("One(Metric)") + metric("Two(Metric)")}, r"unclear.py: One and Two"),
        ({"broken.py": "class (:\n"}, r"broken.py: line 1"),
        ({"again.py": HEAD + metric("Again(Metric)", "bonds")}, r"named 'bonds'; rename one"),
    ],
)
def test_files_that_cannot_be_used_are_named(files, words, metrics_folder):
    """Never an assertion or an unpacking error."""
    for name, text in files.items():
        (metrics_folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        registry.names("metrics")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes an installed package of one module with entry points; forgotten after."""
    before = set(sys.modules)

    def make(name: str, entries: dict[str, dict[str, str]], module: str) -> None:
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = [f"[protgen.{kind}]\n" + "".join(f"{k} = {v}\n" for k, v in e.items()) for kind, e in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(module, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        registry.entry_points.cache_clear()

    yield make
    registry.entry_points.cache_clear()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


GOOD = HEAD + metric("MaxDimension(Metric[Protein])", "max_dimension")


def test_an_entry_point_is_a_name(package):
    """It is listed, found, built, and has a reference; module:Class finds the same class."""
    package("lab-one", {"metrics": {"max_dimension": "lab_one:MaxDimension"}}, GOOD)
    assert "max_dimension" in registry.names("metrics")
    cls = registry.find("metrics", "max_dimension")
    assert registry.find("metrics", "lab_one:MaxDimension") is cls
    assert registry.reference("metrics", cls) == "max_dimension"
    assert registry.plugins("metrics")["max_dimension"].package == "lab-one"
    assert "max_dimension" in registry.classes("metrics")


def test_a_class_without_an_entry_point_has_a_reference_too(package):
    """module:Class, which finds it again."""
    package("lab-one", {}, GOOD)
    cls = registry.find("metrics", "lab_one:MaxDimension")
    assert registry.reference("metrics", cls) == "lab_one:MaxDimension"


@pytest.mark.parametrize(
    ("entry", "module", "words"),
    [
        ("lab_one:MaxDimension", "import no_such_module_here\n", "lab-one cannot be loaded: ModuleNotFoundError"),
        ("lab_one:MaxDimension", "1 / 0\n", "lab-one cannot be loaded: ZeroDivisionError: division by zero"),
        ("lab_one:MaxDimension", "raise SystemExit(3)\n", "lab-one cannot be loaded: SystemExit: 3"),
        ("lab_one:MaxDimension", "x = (\n", "lab-one cannot be loaded: SyntaxError"),
        ("lab_one:MaxDimensoin", GOOD, "did you mean 'MaxDimension'"),
        ("lab_one:Protein", GOOD, "is no Metric; derive it"),
        ("lab_one:HEAD", "HEAD = 3\n", "is no Metric; derive it"),
        ("lab_one:Metric", GOOD, "is abstract; define measure"),
        ("lab_one:M", HEAD + metric("M(Metric)", "other"), "declares the name 'other'; make the two the same"),
        ("lab_one:M", HEAD + metric("M(Metric)"), "has no name"),
        ("lab_two:M", GOOD, "lab-one cannot be loaded: ModuleNotFoundError: No module named 'lab_two'"),
    ],
)
def test_a_broken_package_is_a_line_that_names_it(package, entry, module, words):
    """An error where it is asked for, a warning where all are; the others stay."""
    package("lab-one", {"metrics": {"max_dimension": entry}}, module)
    with pytest.raises(ConfigError, match=words) as error:
        registry.find("metrics", "max_dimension")
    assert "lab-one" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.warns(PluginWarning, match=words):
        found = registry.classes("metrics")
    assert "max_dimension" not in found
    assert "bonds" in found


def test_no_package_takes_a_name_of_ours(package):
    """It is left out and named; nor does a class by module:Class under its own name."""
    module = HEAD + metric("Bonds(Metric)", "bonds")
    package("lab-one", {"metrics": {"bonds": "lab_one:Bonds"}}, module)
    with pytest.warns(PluginWarning, match=r"'bonds' of the package lab-one is left out: protgen has one"):
        assert registry.find("metrics", "bonds").__module__ == "protgen.metrics.bonds"
    with pytest.raises(ConfigError, match="declares the name 'bonds', which protgen has"):
        registry.find("metrics", "lab_one:Bonds")


def test_two_packages_with_one_name_are_both_left_out(package):
    """Neither is chosen by chance."""
    package("lab-one", {"metrics": {"max_dimension": "lab_one:MaxDimension"}}, GOOD)
    package("lab-two", {"metrics": {"max_dimension": "lab_two:MaxDimension"}}, GOOD)
    with pytest.warns(PluginWarning, match=r"lab-two is left out, as is that of lab-one"):
        assert "max_dimension" not in registry.names("metrics")


def test_a_module_that_is_not_there_is_told_apart_from_one_that_fails(package):
    """The first is likely a typing error or a missing path; names near it are suggested."""
    with pytest.raises(ConfigError, match=r"no module 'eulr'; install its package.*did you mean 'euler'"):
        registry.find("samplers", "eulr:Sampler")
    package("lab-one", {}, "import no_such_module_here\n")
    with pytest.raises(ConfigError, match=r"'lab_one:M' cannot be loaded: ModuleNotFoundError"):
        registry.find("metrics", "lab_one:M")


def test_constructors_of_other_packages_fail_in_a_line(package):
    """Whatever they raise; errors in their code are blamed on their package."""
    module = (
        HEAD + metric("MaxDimension(Metric[Protein])", "max_dimension") + "    def __init__(self, **given): 1 / 0\n"
    )
    package("lab-one", {"metrics": {"max_dimension": "lab_one:MaxDimension"}}, module)
    with pytest.raises(ConfigError, match="lab-one cannot be built: ZeroDivisionError") as error:
        registry.build("metrics", "max_dimension", anything=3)
    assert registry.blamed(error.value.__cause__) == "lab-one"
    assert registry.blamed(error.value) is None


def test_nothing_is_said_when_nothing_is_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in registry.BASES:
            registry.classes(kind)

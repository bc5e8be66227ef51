"""foldseek's clusters, by a stand-in that is called and answers as foldseek does."""

import json

import numpy as np
import pytest

from protgen.errors import ToolError, UsageError
from protgen.evaluation.runner import Settings, evaluate
from protgen.metrics.foldseek import foldseek_clusters, foldseek_version, read_clusters
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.writer import write_structure

# One cluster of all that are shorter than the last file, and one of the last; the first file is left out.
STAND_IN = """#!/bin/sh
if [ "$1" = version ]; then echo 9-427df8a; exit 0; fi
[ "$1" = easy-cluster ] && [ -d "$2" ] || exit 7
echo "$@" > {log}
cd "$2" && set -- "$3" $(ls *.pdb) && out="$1" && shift 2
first="$1"
while [ $# -gt 1 ]; do printf '%s\\t%s\\n' "$first" "$1"; shift; done > "${{out}}_cluster.tsv"
printf '%s\\t%s\\n' "$1" "$1" >> "${{out}}_cluster.tsv"
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A foldseek on PATH; the file that keeps its last arguments."""
    program, log = tmp_path / "bin" / "foldseek", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return log


def helices(n):
    return [Protein.from_backbone(ideal_helix(20 + k)) for k in range(n)]


def test_clusters_are_numbered_by_size_and_the_left_out_are_alone(stand_in):
    """Its table becomes labels and representatives, and the field's options are on its command line."""
    assert foldseek_version() == "9-427df8a"
    found = foldseek_clusters(helices(5), jobs=3)
    assert found.labels.tolist() == [1, 0, 0, 0, 2]
    assert found.representatives.tolist() == [1, 0, 4]
    assert found.n_left_out == 1
    assert "--alignment-type 1 --cov-mode 0 --min-seq-id 0 --tmscore-threshold 0.5 --threads 3" in stand_in.read_text()


def test_evaluation_records_the_version(stand_in, tmp_path):
    """Clusters in the table, the version in the summary, and no TM-scores that nobody computed."""
    (tmp_path / "set").mkdir()
    for k, protein in enumerate(helices(5)):
        write_structure(protein, tmp_path / "set" / f"{k}.pdb")
    result = evaluate([tmp_path / "set"], tmp_path / "out", settings=Settings(tm="foldseek"))
    assert [row["cluster"] for row in result.rows] == [1, 0, 0, 0, 2]
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    diversity = content["sets"]["set"]["diversity"]
    assert diversity["search"].startswith("foldseek 9-427df8a, 1 structures")
    assert diversity["rule"] == "foldseek easy-cluster"
    assert diversity["clusters"] == 3
    assert diversity["mean_pairwise_tm"] is None
    assert "9-427df8a" in content["cluster_definition"]


def test_what_goes_wrong_is_told(tmp_path, monkeypatch):
    """No program, a program that fails, and a table that is none: one line each."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="foldseek: no such program"):
        evaluate([_written(tmp_path)], tmp_path / "out", settings=Settings(tm="foldseek"))
    assert not (tmp_path / "out").exists()
    program = tmp_path / "foldseek"
    program.write_text('#!/bin/sh\n[ "$1" = version ] && echo 9 && exit 0\necho "no memory" >&2; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ToolError, match="foldseek: exit status 1: no memory"):
        foldseek_clusters(helices(2))
    for text in ("s000000\ts000009\n", "s000000\ts000000\ns000001\ts000000\n", "x\ty\n"):
        (tmp_path / "table").write_text(text)
        with pytest.raises(ToolError, match="table of clusters"):
            read_clusters(tmp_path / "table", 3)
    (tmp_path / "table").write_text("s000000.pdb_A\ts000002.pdb\ns000000\ts000000\n")
    assert np.array_equal(read_clusters(tmp_path / "table", 3).labels, [0, 1, 0])


def _written(folder):
    write_structure(helices(1)[0], folder / "one.pdb")
    return folder / "one.pdb"

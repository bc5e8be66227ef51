"""`protgen data download` as it is typed; `tests/unit/test_download.py` has the server that fails."""

import json

import pytest

from protgen.data import download as module
from protgen.data.download_http import Asker, MissingError
from tests.unit.test_download import conditions_of, entry

pytest.importorskip("httpx")


def test_ids_and_lists_are_fetched_into_a_folder(cli, tmp_path, monkeypatch):
    """One entry is there, one nowhere: exit 3, and both named."""

    def get(self, url, check=lambda _: None):
        if "1abc.bcif.gz" not in url:
            raise MissingError(f"{url}: there is no such thing (HTTP 404)")
        check(entry("1abc"))
        return entry("1abc")

    monkeypatch.setattr(Asker, "get", get)
    (tmp_path / "list").write_text("9zzz\n1abc\n")
    done = cli("data", "download", "1ABC", "--list", tmp_path / "list", "--out", tmp_path / "o", "--json")
    assert done.code == 3, done.err
    found = json.loads(done.out)
    assert (found["n"], found["made"], list(found["failed"])) == (2, ["1abc.bcif.gz"], ["9zzz"])
    assert (tmp_path / "o" / module.FAILED).is_file()
    again = cli("data", "download", "1abc", "--out", tmp_path / "o")
    assert again.code == 0, again.err
    assert "1 entries: 0 fetched, 1 were there, 0 failed." in again.out


def test_options_of_a_query_reach_the_service(cli, tmp_path, monkeypatch):
    """Each as its own condition; of what is found, --most are fetched, and those named beside it."""
    bodies = []

    def post(self, url, content):
        bodies.append(content)
        found = [{"identifier": name} for name in ("1ABC", "2ABC", "3ABC")]
        return json.dumps({"total_count": 3, "result_set": found}).encode()

    monkeypatch.setattr(Asker, "post", post)
    monkeypatch.setattr(Asker, "get", lambda self, url, check=None: entry(url.rpartition("/")[2][:4]))
    done = cli(
        "data", "download", "9xyz", "--resolution", 2.5, "--method", "x-ray", "--min-length", 50, "--max-length", 128,
        "--chains", 2, "--released-from", "2001-01-01", "--released-until", "2020-12-31", "--organism", "Thermus",
        "--most", 2, "--out", tmp_path / "o", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["made"] == [f"{name}.bcif.gz" for name in ("9xyz", "1abc", "2abc")]
    (body,) = bodies
    assert conditions_of(body) == {
        ("rcsb_entry_info.polymer_entity_count_protein", "greater_or_equal", 1),
        ("rcsb_entry_info.resolution_combined", "less_or_equal", 2.5),
        ("exptl.method", "exact_match", "X-RAY DIFFRACTION"),
        ("entity_poly.rcsb_sample_sequence_length", "greater_or_equal", 50),
        ("entity_poly.rcsb_sample_sequence_length", "less_or_equal", 128),
        ("rcsb_entry_info.deposited_polymer_entity_instance_count", "less_or_equal", 2),
        ("rcsb_accession_info.initial_release_date", "greater_or_equal", "2001-01-01"),
        ("rcsb_accession_info.initial_release_date", "less_or_equal", "2020-12-31"),
        ("rcsb_entity_source_organism.ncbi_scientific_name", "exact_match", "Thermus"),
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("nothing to download", "--list")),
        (("../x",), ("'../x' is no PDB",)),
        (("--released-from", "yesterday"), ("yesterday", "2024-01-31")),
        (("--method", "xray"), ("xray", "x-ray, em, nmr")),
        (("1abc", "--rate", "0"), ("--rate",)),
    ],
)
def test_strange_requests_are_one_line(cli, tmp_path, arguments, words):
    cli("data", "download", *arguments, "--out", tmp_path / "o").assert_failed(2, *words)
    assert not (tmp_path / "o").exists()

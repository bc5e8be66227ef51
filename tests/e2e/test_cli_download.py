"""`protgen data download` as it is typed; `tests/unit/test_download.py` has the server that fails."""

import json

import pytest

from protgen.data import download as module
from protgen.data.download_http import Asker, MissingError
from tests.unit.test_download import entry

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

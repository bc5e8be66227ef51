"""Downloads from a server of ours that fails in every way: nothing damaged gets a name, nothing is asked twice."""

import gzip
import hashlib
import json
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from protgen.data.download import FAILED, SUMS, Services, check_entry, download, search, write_failed, write_sums
from protgen.data.download_http import Asker, Manners, UnreachableError, seconds_of
from protgen.data.download_ids import Id, Query, parse_id, read_list
from protgen.errors import DataError, StructureError, UsageError
from protgen.structure.ideal import ideal_helix
from protgen.structure.protein import Protein
from protgen.structure.reader import read_structure
from protgen.structure.writer import cif_text

pytest.importorskip("httpx")


def entry(name: str, n: int = 12) -> bytes:
    """An mmCIF file of an entry."""
    text = cif_text(Protein.from_backbone(ideal_helix(n), name=name))
    head, _, rest = text.partition("\n")
    assert head.startswith("data_")
    return f"data_{name.upper()}\n{rest}".encode()


GOOD = {name: gzip.compress(entry(name), mtime=0) for name in ("1abc", "2xyz")}


class Handler(BaseHTTPRequestHandler):
    """Gives each address the answers that a test has put there, one after the other, the last for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.command, self.path, time.monotonic()))
        size = int(self.headers.get("Content-Length", 0))
        if size:
            self.server.bodies.append(json.loads(self.rfile.read(size)))
        answers = self.server.answers.get(self.path, [(404, b"", {})])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer == "hang":
            time.sleep(1.5)
            self.close_connection = True
            return
        if answer == "drop":
            self.close_connection = True
            return
        status, body, headers = answer
        self.send_response(status)
        short = headers.get("cut", 0)
        self.send_header("Content-Length", headers.get("length", str(len(body))))
        for name, value in headers.items():
            if name not in ("cut", "length"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) - short])
        self.close_connection = bool(short)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """The server, its answers and what it was asked; services that are all there."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.answers, made.asked, made.bodies, made.daemon_threads = {}, [], [], True
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    home = f"http://127.0.0.1:{made.server_port}"
    services = Services(f"{home}/search", f"{home}/b/{{id}}", f"{home}/c/{{id}}", f"{home}/af/{{id}}")
    yield SimpleNamespace(
        answers=made.answers, asked=made.asked, bodies=made.bodies, services=services, home=home,
        paths=lambda: [path for _, path, _ in made.asked],
    )  # fmt: skip
    made.shutdown()
    made.server_close()


@pytest.fixture
def asker():
    """Asks quickly, and notes how long it would have waited between tries."""
    waits = []
    with Asker(Manners(rate=1000, tries=4, timeout=0.5, pause=0.5, most_bytes=50_000), waits.append) as made:
        made.waits = waits
        yield made


def got(server, asker, folder, names=("1abc",), **more):
    """The result of a download of PDB entries."""
    return download([Id("pdb", name) for name in names], folder, asker, server.services, **more)


BAD = {
    "429 with Retry-After": (429, b"slow down", {"Retry-After": "7"}),
    "500": (500, b"<html>oops</html>", {}),
    "503": (503, b"", {}),
    "a page in place of the file": (200, b"<html>please log in</html>", {}),
    "JSON": (200, b'{"error": 1}', {}),
    "nothing": (200, b"", {}),
    "a body that is cut": (200, GOOD["1abc"], {"cut": 30}),
    "gzip that is cut, with its length": (200, GOOD["1abc"][:-30], {}),
    "gzip with another byte": (200, GOOD["1abc"][:60] + b"\0" + GOOD["1abc"][61:], {}),
    "another entry": (200, GOOD["2xyz"], {}),
    "no answer": "hang",
    "a connection that ends": "drop",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_goes_wrong_once_is_tried_again(server, asker, tmp_path, kind):
    """The good answer after it gets its name, with its checksum; the pause is that of the server or grows."""
    server.answers["/b/1abc"] = [BAD[kind], (200, GOOD["1abc"], {})]
    result = got(server, asker, tmp_path)
    assert (result.made, result.failed) == (["1abc.bcif.gz"], {})
    assert (tmp_path / "1abc.bcif.gz").read_bytes() == GOOD["1abc"]
    checksum = hashlib.sha256(GOOD["1abc"]).hexdigest()
    assert (tmp_path / SUMS).read_text() == f"{checksum}  1abc.bcif.gz\n"
    (wait,) = [wait for wait in asker.waits if wait > 0.1]
    assert wait == 7 if "Retry-After" in kind else 0.5 <= wait <= 0.75
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1abc.bcif.gz", SUMS]


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind not in ("no answer",)])
def test_what_goes_wrong_always_fails_by_name(server, asker, tmp_path, kind):
    """After four tries in each format, with growing pauses; nothing gets a name, and the next entry is fetched."""
    server.answers |= {"/b/1abc": [BAD[kind]], "/c/1abc": [BAD[kind]], "/b/2xyz": [(200, GOOD["2xyz"], {})]}
    result = got(server, asker, tmp_path, ("1abc", "2xyz"))
    assert result.made == ["2xyz.bcif.gz"]
    assert "after 4 tries" in result.failed["1abc"]
    assert server.paths() == ["/b/1abc"] * 4 + ["/c/1abc"] * 4 + ["/b/2xyz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2xyz.bcif.gz", SUMS, "failed.csv"]
    assert (tmp_path / "failed.csv").read_text().startswith("id,reason\n1abc,")
    waits = [wait for wait in asker.waits if wait > 0.1]
    assert len(waits) == 6
    if "Retry-After" not in kind:
        assert all(0.5 * 2**k <= wait <= 0.75 * 2**k for k, wait in enumerate(waits[:3]))


def test_mmcif_is_fetched_where_there_is_no_binarycif(server, asker, tmp_path):
    """What is missing is asked for once in each format; an entry that is nowhere fails as missing."""
    server.answers["/c/1abc"] = [(200, GOOD["1abc"], {})]
    result = got(server, asker, tmp_path, ("1abc", "9zzz"))
    assert result.made == ["1abc.cif.gz"]
    assert "HTTP 404" in result.failed["9zzz"]
    assert server.paths() == ["/b/1abc", "/c/1abc", "/b/9zzz", "/c/9zzz"]
    assert read_structure(tmp_path / "1abc.cif.gz").length == 12


def test_a_second_run_fetches_what_is_missing_or_damaged(server, asker, tmp_path):
    """Whole files are not asked for again, with or without the list of checksums; a changed one is."""
    server.answers |= {f"/b/{name}": [(200, data, {})] for name, data in GOOD.items()}
    got(server, asker, tmp_path, tuple(GOOD))
    server.asked.clear()
    assert got(server, asker, tmp_path, tuple(GOOD)).kept == ["1abc.bcif.gz", "2xyz.bcif.gz"]
    (tmp_path / SUMS).unlink()
    assert len(got(server, asker, tmp_path, tuple(GOOD)).kept) == 2
    assert server.asked == []
    sums = (tmp_path / SUMS).read_text()
    (tmp_path / "2xyz.bcif.gz").write_bytes(GOOD["2xyz"][:-1])
    again = got(server, asker, tmp_path, tuple(GOOD))
    assert (again.kept, again.made) == (["1abc.bcif.gz"], ["2xyz.bcif.gz"])
    assert server.paths() == ["/b/2xyz"]
    assert (tmp_path / SUMS).read_text() == sums


@pytest.mark.parametrize("headers", [{}, {"length": "9" * 12}])
def test_a_body_without_end_is_not_taken(server, tmp_path, headers):
    """By its declared length, or as it comes."""
    server.answers["/b/1abc"] = [(200, b"x" * 200_000, headers)]
    with Asker(Manners(rate=1000, tries=1, timeout=0.5, most_bytes=50_000), lambda _: None) as asker:
        with pytest.raises(UnreachableError, match="more than 50,000"):
            asker.get(f"{server.home}/b/1abc")
        server.answers["/x"] = [(403, b"", {})]
        with pytest.raises(UnreachableError, match="refused"):
            asker.get(f"{server.home}/x")


def test_requests_keep_the_rate(server):
    """Six at twenty a second take a quarter of a second at least."""
    server.answers["/x"] = [(200, b"", {})]
    with Asker(Manners(rate=20)) as asker:
        for _ in range(6):
            asker.get(f"{server.home}/x")
    times = [at for *_, at in server.asked]
    assert times[-1] - times[0] >= 0.24


def conditions_of(body) -> set[tuple]:
    """Attribute, operator and value of each condition of a query, all of which must hold."""
    assert (body["query"]["type"], body["query"]["logical_operator"]) == ("group", "and")
    assert {(n["type"], n["service"]) for n in body["query"]["nodes"]} == {("terminal", "text")}
    return {tuple(n["parameters"][key] for key in ("attribute", "operator", "value")) for n in body["query"]["nodes"]}


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        ({"resolution": 1.8}, ("rcsb_entry_info.resolution_combined", "less_or_equal", 1.8)),
        ({"method": "x-ray"}, ("exptl.method", "exact_match", "X-RAY DIFFRACTION")),
        ({"method": "nmr"}, ("exptl.method", "exact_match", "SOLUTION NMR")),
        ({"min_length": 60}, ("entity_poly.rcsb_sample_sequence_length", "greater_or_equal", 60)),
        ({"max_length": 60}, ("entity_poly.rcsb_sample_sequence_length", "less_or_equal", 60)),
        ({"chains": 2}, ("rcsb_entry_info.deposited_polymer_entity_instance_count", "less_or_equal", 2)),
        (
            {"released_from": "2020-02-29"},
            ("rcsb_accession_info.initial_release_date", "greater_or_equal", "2020-02-29"),
        ),
        ({"released_until": "2020-02-29"}, ("rcsb_accession_info.initial_release_date", "less_or_equal", "2020-02-29")),
        ({"organism": "Thermus"}, ("rcsb_entity_source_organism.ncbi_scientific_name", "exact_match", "Thermus")),
    ],
)
def test_each_part_of_a_query_is_one_condition(asked, condition):
    """Beside that of a protein, which is always there."""
    protein = ("rcsb_entry_info.polymer_entity_count_protein", "greater_or_equal", 1)
    assert conditions_of(Query(**asked).document(0)) == {protein, condition}


@pytest.mark.parametrize(("most", "pages"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (9, 3), (None, 3)])
def test_no_more_than_most_are_taken_and_no_page_beyond_them_is_asked_for(server, asker, most, pages):
    """Five entries on pages of two: the first by ID."""
    names = ["1aaa", "1aab", "1aac", "1aad", "1aae"]
    answers = [names[k : k + 2] for k in (0, 2, 4)]
    server.answers["/search"] = [
        (200, json.dumps({"total_count": 5, "result_set": [{"identifier": i} for i in page]}).encode(), {})
        for page in answers
    ]
    found = search(asker, Query(resolution=2.0), server.services, most)
    assert [one.name for one in found.ids] == names[:most]
    first, *_ = server.bodies
    assert len(server.bodies) == pages
    assert first["request_options"]["sort"] == [
        {"sort_by": "rcsb_entry_container_identifiers.entry_id", "direction": "asc"}
    ]


def test_a_query_is_asked_page_by_page(server, asker):
    """The document of the search service, with what was asked and nothing else; none found is no error."""
    pages = [["1ABC", "2XYZ"], ["3DEF"]]
    server.answers["/search"] = [
        (200, json.dumps({"total_count": 3, "result_set": [{"identifier": i} for i in page]}).encode(), {})
        for page in pages
    ]
    query = Query(resolution=2.0, method="em", max_length=128, organism="Homo sapiens", released_from="2024-01-31")
    assert [found.name for found in search(asker, query, server.services).ids] == ["1abc", "2xyz", "3def"]
    first, second = server.bodies
    assert [body["request_options"]["paginate"]["start"] for body in (first, second)] == [0, 2]
    assert conditions_of(first) == {
        ("rcsb_entry_info.polymer_entity_count_protein", "greater_or_equal", 1),
        ("rcsb_entry_info.resolution_combined", "less_or_equal", 2.0),
        ("exptl.method", "exact_match", "ELECTRON MICROSCOPY"),
        ("entity_poly.rcsb_sample_sequence_length", "less_or_equal", 128),
        ("rcsb_accession_info.initial_release_date", "greater_or_equal", "2024-01-31"),
        ("rcsb_entity_source_organism.ncbi_scientific_name", "exact_match", "Homo sapiens"),
    }
    server.answers["/search"] = [(204, b"", {})]
    assert search(asker, query, server.services).ids == []
    for strange in (b"<html>", b"[]", b'{"total_count": "3"}', b'{"total_count": 3, "result_set": [{}]}'):
        server.answers["/search"] = [(200, strange, {})]
        with pytest.raises(DataError, match="/search: answers"):
            search(asker, query, server.services)


def test_a_name_of_the_search_that_is_no_id_reaches_no_path(server, asker, tmp_path):
    """It is counted and among the failed, the next page begins where it should, and nothing lies beside the folder."""
    pages = [["../escaped", "1ABC"], ["1abc_A", "2XYZ"]]
    server.answers["/search"] = [
        (200, json.dumps({"total_count": 4, "result_set": [{"identifier": i} for i in page]}).encode(), {})
        for page in pages
    ]
    server.answers |= {f"/b/{name}": [(200, GOOD[name], {})] for name in GOOD}
    server.answers["/b/../escaped"] = [(200, gzip.compress(entry("../escaped")), {})]
    found = search(asker, Query(resolution=2.0), server.services)
    assert [one.name for one in found.ids] == ["1abc", "2xyz"]
    assert list(found.refused) == ["../escaped", "1abc_A"]
    assert [body["request_options"]["paginate"]["start"] for body in server.bodies] == [0, 2]
    folder = tmp_path / "out"
    folder.mkdir()
    result = download(found.ids, folder, asker, server.services, refused=found.refused)
    assert (len(result.made), sorted(result.failed)) == (2, ["../escaped", "1abc_A"])
    assert "no PDB ID" in result.failed["../escaped"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"bcifUrl": "https://a\0b/"}, "is no address"),
        ({"bcifUrl": "https://host/" + "a" * 70_000}, "is no address"),
        ({"bcifUrl": "https://xn--/"}, "is no address"),
        ({"globalMetricValue": 10**400}, "does not say its mean pLDDT"),
        ({"globalMetricValue": True}, "does not say its mean pLDDT"),
    ],
)
def test_a_strange_answer_costs_one_entry(server, asker, tmp_path, about, words):
    """Its line in failed.csv is short, and the next entry is fetched."""
    asker.manners = replace(asker.manners, most_bytes=100_000)
    whole = {"bcifUrl": f"{server.home}/f/P00521", "globalMetricValue": 90}
    for name, entries in (("P00520", whole | about), ("P00521", whole)):
        server.answers[f"/af/{name}"] = [(200, json.dumps([entries]).encode(), {})]
    server.answers["/f/P00521"] = [(200, entry("AF-P00521-F1"), {})]
    result = download([Id("alphafold", n) for n in ("P00520", "P00521")], tmp_path, asker, server.services, plddt=70)
    assert (result.made, list(result.failed)) == (["AF-P00521-F1.bcif"], ["P00520"])
    assert words in result.failed["P00520"]
    assert len(result.failed["P00520"]) < 400


def test_a_redirect_to_no_address_is_one_more_failure(server, asker, tmp_path):
    """After the tries that any failure has."""
    server.answers["/b/1abc"] = [(302, b"", {"Location": "https://xn--/"})]
    assert "is no address" in got(server, asker, tmp_path).failed["1abc"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "ALL_PROXY names a SOCKS proxy, which needs the package socksio"),
        ("HTTPS_PROXY", "foo:bar", "HTTPS_PROXY is no address of a proxy"),
        ("https_proxy", "ftp://secret@host", "https_proxy is no address of a proxy"),
        ("SSL_CERT_FILE", "/nosuch", "SSL_CERT_FILE: no certificates can be read there"),
    ],
)
def test_a_wrong_proxy_or_certificate_is_named(monkeypatch, name, value, words):
    """The variable, and not what it holds, which may be a password."""
    for other in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.lower(), raising=False)
    monkeypatch.setenv(name, value)
    if "socks" in value:
        monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(UsageError, match=words) as caught:
        Asker(Manners())
    assert "secret" not in str(caught.value)


def test_alphafold_entries_have_a_floor_of_plddt(server, asker, tmp_path):
    """One above it, one below, one of which the service says nothing."""
    for name, mean in (("P00520", 91.5), ("P00521", 60.25), ("P00522", None)):
        about = {"bcifUrl": f"{server.home}/f/{name}", "cifUrl": "", "globalMetricValue": mean}
        server.answers[f"/af/{name}"] = [(200, json.dumps([about]).encode(), {})]
        server.answers[f"/f/{name}"] = [(200, entry(f"AF-{name}-F1"), {})]
    ids = [Id("alphafold", name) for name in ("P00520", "P00521", "P00522")]
    result = download(ids, tmp_path, asker, server.services, plddt=70)
    assert (result.made, result.below) == (["AF-P00520-F1.bcif"], {"AF-P00521-F1": 60.25})
    assert "does not say its mean pLDDT" in result.failed["P00522"]
    assert len(download(ids, tmp_path, asker, server.services).made) == 2


def test_lists_of_a_download_that_cannot_be_written_are_one_line(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / FAILED).mkdir()
    (tmp_path / "full" / SUMS).mkdir()
    for failed in ({"1abc": "gone"}, {}):
        with pytest.raises(DataError, match=r"failed.*: cannot be written"):
            write_failed(tmp_path / "full", failed)
    with pytest.raises(DataError, match="cannot be written"):
        write_sums(tmp_path / "full", {"a": "0"})


LISTS = {
    "PISCES": "PDBchain len method resol\n12E8H 221 XRAY 1.90\n1a0iA 332 XRAY 2.60\n",
    "CATH": "# CATH List File\n12e8H01 1 10 8 10\n1a0iA02 3 30 470 30\n",
    "SCOPe": "# dir.cla.scope\nd12e8h_ 12e8 H: a.1.1.1\nd1a0ia1 1a0i A:1-100 a.1\n",
    "plain": "12e8, comment\n1A0I_A\n\n1a0i.B\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_every_kind_name_entries(tmp_path, kind):
    """By the first word of each line."""
    (tmp_path / "list").write_text(LISTS[kind])
    assert {found.name for found in read_list(tmp_path / "list")} == {"12e8", "1a0i"}


def test_a_list_that_names_no_entry_is_refused_by_line(tmp_path):
    for text, words in (("1abc\nhello world\n", "line 2: 'hello'"), ("# nothing\n", "names no entry")):
        (tmp_path / "list").write_text(text)
        with pytest.raises(DataError, match=words):
            read_list(tmp_path / "list")


def test_strange_ids_queries_and_times():
    """No path, no other script, no date that is none."""
    for text in ("../x", "1ab", "1abc/..", "\u0661abc", "AF-P00520-F1\n", "", "P0052"):
        assert parse_id(text) is None, text
    for date in ("31.1.2024", "2024-13-45", "2023-02-29", "2024-01-31T00:00:00Z"):
        with pytest.raises(UsageError, match="date such as"):
            Query(released_until=date)
    with pytest.raises(UsageError, match="--min-length 100 is above --max-length 50; swap"):
        Query(min_length=100, max_length=50)
    with pytest.raises(UsageError, match="--released-from 2024-02-01 is above --released-until 2024-01-31"):
        Query(released_from="2024-02-01", released_until="2024-01-31")
    with pytest.raises(UsageError, match="x-ray, em, nmr"):
        Query(method="xray")
    assert 55 < seconds_of(time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))) <= 60
    assert seconds_of("1_0") == seconds_of("-5") == seconds_of("nan") == 0


def test_a_binarycif_file_names_its_entry_within(tmp_path):
    """By the header of its blocks; one of another entry, or of no form, is refused."""
    msgpack = pytest.importorskip("msgpack")
    for header, words in (("2XYZ", "holds the entry 2xyz, not 1abc"), (None, "of no name")):
        blocks = [{"header": header, "categories": []}] if header else 3
        (tmp_path / "a.bcif").write_bytes(msgpack.packb({"version": "1", "encoder": "", "dataBlocks": blocks}))
        with pytest.raises(StructureError, match=words):
            check_entry(tmp_path / "a.bcif", "1abc")
    blocks = [{"header": "1ABC", "categories": []}]
    (tmp_path / "a.bcif").write_bytes(msgpack.packb({"version": "1", "encoder": "", "dataBlocks": blocks}))
    with pytest.raises(StructureError, match="no _atom_site"):  # the name is right, and then it is read
        check_entry(tmp_path / "a.bcif", "1abc")

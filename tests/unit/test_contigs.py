"""Contigs: the grammar and its dialects, by round trips and by strings that mean nothing."""

import contextlib
import random
import string
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protgen.conditions.contig_dialects import (
    MotifProblem,
    from_placement,
    from_rfdiffusion,
    read_frameflow,
    read_genie2,
    read_motifbench,
    to_placement,
    to_rfdiffusion,
    write_frameflow,
    write_genie2,
    write_motifbench,
)
from protgen.conditions.contigs import Contig, Gap, Segment
from protgen.errors import ConflictError, ProtgenError, UsageError


@st.composite
def contigs(draw, chains: int = 3, fixed: bool = False) -> Contig:
    """Any valid contig: segments take residues of their chain one after the other, in any order of the design."""
    next_free: dict[str, int] = {}
    made = []
    for _ in range(draw(st.integers(1, chains))):
        parts: list[Gap | Segment] = []
        for _ in range(draw(st.integers(1, 5))):
            if draw(st.booleans()):
                chain = draw(st.sampled_from("ABz"))
                first = next_free.get(chain, 1) + draw(st.integers(0, 50))
                last = first + draw(st.integers(0, 20))
                next_free[chain] = last + 1
                parts.append(Segment(chain, first, last))
            else:
                low = draw(st.integers(0, 40))
                parts.append(Gap(low, low if fixed else low + draw(st.integers(0, 30))))
        made.append(tuple(parts))
    contig = Contig(tuple(made))
    low, high = contig.span
    if draw(st.booleans()):
        first = draw(st.integers(low, high))
        contig = Contig(contig.chains, (first, draw(st.integers(first, high + 10))))
    return contig


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(contigs())
def test_text_round_trips(contig):
    assert Contig.parse(str(contig)) == contig
    assert Contig.parse(contig.without_total(), str(Gap(*contig.total)) if contig.total else None) == contig


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(contigs())
def test_rfdiffusion_round_trips(contig):
    assert from_rfdiffusion(to_rfdiffusion(contig)) == contig


@settings(max_examples=40, deadline=None)
@given(st.lists(contigs(chains=1), min_size=1, max_size=4))
def test_tables_and_remarks_round_trip(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("dialects")
    problems = [MotifProblem(f"p{i}", contig, Path(f"x/p{i}.pdb")) for i, contig in enumerate(found)]
    table = folder / "contigs.csv"
    table.write_text(write_frameflow(problems))
    assert read_frameflow(table) == problems
    for problem in problems:
        remarks = folder / "motif.pdb"
        remarks.write_text(write_genie2(problem))
        again = read_genie2(remarks)
        assert again.name == problem.name
        assert again.contig.chains == problem.contig.chains
        assert again.contig.lengths == problem.contig.lengths


@settings(max_examples=40, deadline=None)
@given(contigs(chains=1))
def test_motifbench_round_trips(tmp_path_factory, contig):
    low, _ = contig.lengths
    problem = MotifProblem("01_TEST", Contig(contig.chains, (low, low)), Path("x/01_TEST.pdb"))
    table = tmp_path_factory.mktemp("motifbench") / "contigs.csv"
    table.write_text(write_motifbench([problem]))
    assert read_motifbench(table, Path("x")) == [problem]


def test_every_dialect_becomes_every_other(tmp_path):
    """One problem by way of all of them."""
    contig = Contig.parse("10-40/A163-181/10-40:50-75")
    problem = MotifProblem("5TPN", from_rfdiffusion(to_rfdiffusion(contig)), Path("5TPN.pdb"))
    (tmp_path / "5TPN.pdb").write_text(write_genie2(problem))
    genie = read_genie2(tmp_path / "5TPN.pdb")
    (tmp_path / "table.csv").write_text(write_frameflow([genie]))
    assert read_frameflow(tmp_path / "table.csv")[0].contig == contig


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A38", "A38-38"),
        ("A38-38", "A38-38"),
        ("10-40,A163-181,10-40", "10-40/A163-181/10-40"),
        ("0-100;A1-21;0-100", "0-100/A1-21/0-100"),
        ("['10-40/A163-181/10-40']", "10-40/A163-181/10-40"),
        ("5-15/A10-25/0 B20-30", "5-15/A10-25/0 B20-30"),
        ("10-20/A5-20/0 /A30-40/10", "10-20/A5-20/0 A30-40/10"),
        ("10/A5-20/0, A30-40/10", "10/A5-20/0 A30-40/10"),
        ("10/A5-20/0/A30-40", "10/A5-20/0/A30-40"),
        (" 5 / A1-A9 ", "5/A1-9"),
        ("5/A1-9:20-30", None),
    ],
)
def test_what_is_written_in_the_wild(text, plain):
    if plain is None:
        with pytest.raises(UsageError, match=r"14.*20-30"):
            Contig.parse(text)
    else:
        assert str(Contig.parse(text)) == plain


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("/0 ", "''"),
        ("10-5", "10-5"),
        ("A9-3", "A9-3"),
        ("A1-B9", "chain A to B"),
        ("A1-5/A3-9", "A1-5"),
        ("10/hello/5", "hello"),
        ("10//5", "''"),
        ("A1-3 B4", "A1-3 B4"),
        ("A163–181", "A163–181"),
        ("10:x", "'x'"),
        ("A1:5", "5"),
    ],
)
def test_bad_contigs_name_the_part(text, word):
    with pytest.raises(UsageError) as caught:
        Contig.parse(text)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ten_thousand_random_strings_parse_or_give_one_clear_error():
    """Half of them drawn from the letters of the grammar, so that many come near to meaning something."""
    rng = random.Random(0)
    parsed, complaints = 0, []
    for number in range(10_000):
        letters = "AB019-/,;: []0" if number % 2 else string.printable + "é٣–\x00"
        text = "".join(rng.choice(letters) for _ in range(rng.randrange(16)))
        try:
            contig = Contig.parse(text)
        except ProtgenError as error:
            complaints.append(str(error))
        else:
            parsed += 1
            assert Contig.parse(str(contig)) == contig
    assert all(complaint and "\n" not in complaint for complaint in complaints)
    assert parsed > 50


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_by_every_dialect(text):
    for read in (Contig.parse, from_rfdiffusion, lambda t: from_placement(t, [Segment("A", 1, 5)])):
        with contextlib.suppress(UsageError):
            read(text)


def test_gaps_are_drawn_evenly_and_sum_to_the_length(rng):
    """Of 0-3 and 0-3 that sum to 3, each of the four choices comes in a quarter of the draws."""
    contig = Contig.parse("0-3/A1-5/0-3")
    drawn = [contig.draw(8, rng) for _ in range(2000)]
    assert all(one.lengths == (8, 8) for one in drawn)
    counts = [sum(one.starts() == (start,) for one in drawn) for start in range(4)]
    assert sum(counts) == 2000
    assert all(430 < count < 570 for count in counts)
    with pytest.raises(ConflictError, match="12"):
        contig.draw(12, rng)


@settings(max_examples=60, deadline=None)  # a busy machine is no failure
@given(contigs(chains=1), st.integers(0, 2**31))
def test_a_draw_has_the_length_asked_for(contig, seed):
    rng = torch.Generator().manual_seed(seed)
    length = contig.draw_length(rng)
    drawn = contig.draw(length, rng)
    assert drawn.lengths == (length, length)
    assert drawn.segments == contig.segments
    starts, ends = drawn.starts(), [s + p.length for s, p in zip(drawn.starts(), drawn.segments, strict=True)]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert not ends or ends[-1] <= length


def test_placements_of_motifbench():
    """The reference solutions of the benchmark: 30/A/27/B/20, and a motif at the very end."""
    segments = (Segment("A", 1, 11), Segment("B", 1, 3))
    contig = from_placement("30/A/27/B/20", segments)
    assert str(contig) == "30/A1-11/27/B1-3/20"
    assert to_placement(contig) == "30/A/27/B/20"
    assert to_placement(Contig.parse("0/A1-11/2/3/B1-3/0")) == "A/5/B"


def test_the_drawing_is_one_line():
    drawing = Contig.parse("10-40/A163-181/12:50-60").drawing()
    assert drawing == "N--(10-40)--[A163-181: 19]--(12)--C   50 to 60 residues, 19 of motif"


def test_the_benchmarks_files_are_read_and_written_back(shared_data):
    """RFdiffusion's 24 problems in two dialects agree, and MotifBench's 30 are one length each."""
    genie = {p.name.upper(): p for p in map(read_genie2, sorted((shared_data / "motifs/rfdiffusion24").glob("*.pdb")))}
    assert len(genie) == 24
    for problem in genie.values():
        own = [line for line in problem.file.read_text().splitlines() if line.startswith("REMARK 999 INPUT")]
        assert [line for line in write_genie2(problem).splitlines() if "INPUT" in line] == own
    table = {p.name.upper(): p for p in read_frameflow(shared_data / "motifs/frameflow_contigs.csv")}
    both = [name for name in table if name in genie and name[:4] not in ("5TRV", "6E6R", "6EXZ", "7MRX")]
    assert len(both) >= 9
    for name in both:
        assert table[name].contig.chains == genie[name].contig.chains, name
    folder = shared_data / "motifs/motifbench"
    bench = read_motifbench(folder / "example_contig_specifications.csv", folder / "motif_pdbs")
    assert len(bench) == 30
    assert all(p.contig.lengths[0] == p.contig.lengths[1] for p in bench)

"""Damaged bytes lead to a result or a StructureError, never to anything else; PROTGEN_FUZZ sets how many."""

import gzip
import os
import random

import pytest
from reader_files import cif_text, pdb_lines, pdb_text

from protgen.errors import StructureError
from protgen.structure.reader import read_structure

N = int(os.environ.get("PROTGEN_FUZZ", "300"))
HEADER = "HEADER    TEST\nREMARK   2 RESOLUTION.    1.50 ANGSTROMS.\nMODRES 1ABC MSE A    3  MET\n"
SEQRES = "SEQRES   1 A   12  ALA LEU GLU LYS SER VAL THR ASP ARG PHE GLN ILE\n"


def seeds() -> dict[str, bytes]:
    models = "".join(f"MODEL     {k}\n" + "\n".join(pdb_lines(4)) + "\nTER\nENDMDL\n" for k in (1, 2))
    pdb = HEADER + SEQRES + pdb_text()
    return {
        "pdb": pdb.encode(),
        "models": (HEADER + models + "END\n").encode(),
        "cif": cif_text().encode(),
        "pdb.gz": gzip.compress(pdb.encode(), mtime=0),
    }


def mutate(data: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(result))
        kind = rng.randrange(6)
        if kind == 0:
            result[at] = rng.randrange(256)
        elif kind == 1:
            result[at] = rng.choice(b" \t\r\n0123456789.-+?_#;'\"AEX*")
        elif kind == 2:
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del result[at : at + rng.choice((1, 1, 3, 80, 500))]
        elif kind == 4:
            result[at:at] = bytes(rng.choice(b" 0-.AX\n\xff") for _ in range(rng.choice((1, 2, 10))))
        else:
            result[at:at] = result[max(0, at - rng.randrange(1, 200)) : at]
        if not result:
            return b""
    return bytes(result)


@pytest.mark.parametrize("kind", ["pdb", "models", "cif", "pdb.gz"])
def test_mutations_raise_only_structure_errors(tmp_path, kind):
    rng, data = random.Random(f"protgen {kind}"), seeds()[kind]
    path = tmp_path / f"x.{'pdb' if kind == 'models' else kind}"
    read = 0
    for _ in range(N // 4):
        path.write_bytes(mutate(data, rng))
        try:
            protein = read_structure(path)
        except StructureError as error:
            message = str(error)
        else:
            message = ""
            read += 1
            assert protein.length > 0
        assert "\n" not in message
    assert read > 0 or N < 100

"""Which residue names are amino acids, and what their standard parents are."""

from functools import cache

import gemmi

STANDARD = (  # in alphabetical order of their full names
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE",
    "LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
)  # fmt: skip
ONE_LETTER = dict(zip(STANDARD, "ARNDCQEGHILKMFPSTWYV", strict=True))
THREE_LETTER = {letter: name for name, letter in ONE_LETTER.items()}
_PARENT_OF_LETTER = THREE_LETTER | {
    "U": "CYS",  # selenocysteine
    "O": "LYS",  # pyrrolysine
}
_FORCE_FIELD = {  # protonation and disulfide names of Amber and CHARMM
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS",
    "CYX": "CYS", "CYM": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG",
}  # fmt: skip
UNKNOWN = "UNK"


@cache
def parent(name: str) -> str | None:
    """The standard parent of an amino acid: "MET" for MSE, "UNK" if it has none, None for anything else.

    A name found in no table gives None as well; see `is_foreign` to distinguish it from a known ligand.
    """
    if name in ONE_LETTER:
        return name
    if name in _FORCE_FIELD:
        return _FORCE_FIELD[name]
    info = gemmi.find_tabulated_residue(name)
    if not info.is_amino_acid():
        return None
    return _PARENT_OF_LETTER.get(info.one_letter_code.upper(), UNKNOWN)


@cache
def is_foreign(name: str) -> bool:
    """True for names known not to be amino acids: water, ions, nucleotides, sugars, caps."""
    info = gemmi.find_tabulated_residue(name)
    return name in ("NME", "FOR") or (info.found() and parent(name) is None)

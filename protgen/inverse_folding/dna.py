"""DNA of a sequence for an order, by the codon that Escherichia coli uses most for each amino acid.

It is a start, without regard to repeats, restriction sites or GC content: makers of genes optimise further.
Frequencies: Codon Usage Database (Nakamura et al. 2000, Nucleic Acids Res. 28, 292), E. coli K-12.
"""

CODONS = {
    "A": "GCG", "R": "CGT", "N": "AAC", "D": "GAT", "C": "TGC", "Q": "CAG", "E": "GAA", "G": "GGC", "H": "CAT",
    "I": "ATT", "L": "CTG", "K": "AAA", "M": "ATG", "F": "TTT", "P": "CCG", "S": "AGC", "T": "ACC", "W": "TGG",
    "Y": "TAT", "V": "GTG",
}  # fmt: skip
STOP = "TAA"


def to_dna(chain: str) -> str:
    """Coding DNA of one chain, with a start codon in front where it has none, and a stop behind.

    Examples:
        >>> to_dna("MAK")
        'ATGGCGAAATAA'
    """
    protein = chain if chain.startswith("M") else f"M{chain}"
    return "".join(CODONS[letter] for letter in protein) + STOP

"""What can go wrong with a sequence in the laboratory: counts of known motifs, and properties by Biopython's ProtParam.

They are warnings for a reader and no filter: a motif counts wherever its letters are, buried or not.

References: Gasteiger et al. 2005 (ProtParam); Kyte & Doolittle 1982 (GRAVY); Guruprasad et al. 1990 (instability);
Wootton & Federhen 1993, Comput. Chem. 17, 149 (low complexity, window 12, 2.2 bits).
"""

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

from protgen.folding.base import CHAIN

GLYCOSYLATED = re.compile(r"(?=N[^P][ST])")  # overlapping sites count
DEAMIDATED, ISOMERISED = "NG", "DG"
HYDROPHOBIC = re.compile(r"[AVILMFW]+")
LONG_STRETCH = 7  # hydrophobic residues in a row that are named
WINDOW, LOW = 12, 2.2  # residues, bits
LOW_SHARE = 0.2  # of the residues, from which low complexity is named
UNSTABLE = 40.0  # instability index
NEUTRAL = 7.0  # pH
PRECISE = 1e-3  # pH


@dataclass(frozen=True)
class Liabilities:
    """Properties of a sequence; of several chains those of all of them together, each with ends of its own.

    Attributes:
        molecular_weight: Da.
        charge: net, at pH 7.
        isoelectric_point: pH.
        gravy: mean hydropathy.
        instability: index, of several chains the mean over residues; above 40 a protein of nature tends to be unstable.
        absorbance: of 1 g/l over 1 cm at 280 nm, cysteines reduced.
        cysteines: number.
        odd_cysteines: chains with an odd number of cysteines.
        glycosylation: N-X-S/T sites, X no proline.
        deamidation: NG pairs.
        isomerisation: DG pairs.
        hydrophobic_stretch: most residues of AVILMFW in a row.
        low_complexity: share of residues in a window of 12 with at most 2.2 bits.
    """

    molecular_weight: float
    charge: float
    isoelectric_point: float
    gravy: float
    instability: float
    absorbance: float
    cysteines: int
    odd_cysteines: int
    glycosylation: int
    deamidation: int
    isomerisation: int
    hydrophobic_stretch: int
    low_complexity: float

    @property
    def words(self) -> list[str]:
        """What a reader should look at, in a word or two each."""
        checks = (
            (self.odd_cysteines > 0, "odd Cys"),
            (self.glycosylation > 0, f"{self.glycosylation} N-glyc"),
            (self.deamidation > 0, f"{self.deamidation} NG"),
            (self.isomerisation > 0, f"{self.isomerisation} DG"),
            (self.hydrophobic_stretch >= LONG_STRETCH, f"{self.hydrophobic_stretch} hydrophobic in a row"),
            (self.low_complexity > LOW_SHARE, f"{100 * self.low_complexity:.0f} % low complexity"),
            (self.instability > UNSTABLE, f"instability {self.instability:.0f}"),
            (self.absorbance == 0, "no absorbance at 280 nm"),
        )
        return [word for wrong, word in checks if wrong]

    def row(self) -> dict[str, float | int | str]:
        """The columns of a table."""
        return asdict(self) | {"liabilities": "; ".join(self.words)}


def liabilities(sequence: str) -> Liabilities:
    """The properties of a sequence of standard amino acids, chains joined by ":".

    Examples:
        >>> found = liabilities("MNGSCDGAVILMFW")
        >>> found.glycosylation, found.deamidation, found.isomerisation, found.odd_cysteines
        (1, 1, 1, 1)
        >>> found.hydrophobic_stretch
        7
    """
    from Bio.SeqUtils.ProtParam import ProteinAnalysis

    chains = sequence.split(CHAIN)
    n = sum(map(len, chains))
    analyses = [ProteinAnalysis(chain) for chain in chains]
    weight = sum(each.molecular_weight() for each in analyses)
    counted = [chain.count("C") for chain in chains]

    def charge(ph: float) -> float:
        return sum(each.charge_at_pH(ph) for each in analyses)

    return Liabilities(
        molecular_weight=weight,
        charge=charge(NEUTRAL),
        isoelectric_point=analyses[0].isoelectric_point() if len(chains) == 1 else neutral_at(charge),
        gravy=sum(len(chain) * each.gravy() for chain, each in zip(chains, analyses, strict=True)) / n,
        instability=sum(len(c) * each.instability_index() for c, each in zip(chains, analyses, strict=True)) / n,
        absorbance=sum(each.molar_extinction_coefficient()[0] for each in analyses) / weight,
        cysteines=sum(counted),
        odd_cysteines=sum(number % 2 for number in counted),
        glycosylation=sum(len(GLYCOSYLATED.findall(chain)) for chain in chains),
        deamidation=sum(chain.count(DEAMIDATED) for chain in chains),
        isomerisation=sum(chain.count(ISOMERISED) for chain in chains),
        hydrophobic_stretch=max((len(run) for chain in chains for run in HYDROPHOBIC.findall(chain)), default=0),
        low_complexity=sum(low_complexity(chain) for chain in chains) / n,
    )


def neutral_at(charge: Callable[[float], float]) -> float:
    """The pH at which a charge is nought: it falls as the pH rises, from positive at 0 to negative at 14."""
    low, high = 0.0, 14.0
    while high - low > PRECISE:
        middle = (low + high) / 2
        low, high = (middle, high) if charge(middle) > 0 else (low, middle)
    return (low + high) / 2


def low_complexity(chain: str) -> int:
    """Residues in a window of 12 with at most 2.2 bits of composition."""
    low: set[int] = set()
    for start in range(len(chain) - WINDOW + 1):
        window = chain[start : start + WINDOW]
        shares = [window.count(letter) / WINDOW for letter in set(window)]
        if -sum(share * math.log2(share) for share in shares) <= LOW:
            low.update(range(start, start + WINDOW))
    return len(low)

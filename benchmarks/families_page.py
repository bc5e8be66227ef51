"""The page of `families_proteins.py`: tables of designs and densities, learning curves, and the released models."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from protgen.types import JSON

Results = Mapping[tuple[str, str], Sequence[JSON]]  # seeds of a family over an encoder

COLUMNS = {
    "no break": "no chain break",
    "no clash": "no heavy-atom clash < 2.0 Å",
    "Rama": "Ramachandran favoured",
    "H + E": "helix + strand",
    "E": "strand",
    "Rg ok": "Rg within 15 % of natives",
}
KINDS = {"exact": "exact", "lower_bound": "upper bound", "estimate": "estimate of an upper bound"}
VOLUMES = {
    "backbone": "p is a density with respect to Å^(3 (l - 1)) rad^(3 l)",
    "torsions": "p is a density with respect to radians and standard deviations of bond angles, of what exists",
}


def spread(values: Sequence[float], text: str) -> str:
    """The mean over seeds, and their range where there are several."""
    mean = text.format(float(np.mean(values)))
    return mean if len(values) == 1 else f"{mean} [{text.format(min(values))}, {text.format(max(values))}]"


def row_of_designs(family: str, encoder: str, seeds: Sequence[JSON]) -> list[str]:
    """A row of the table of designs; figures that an older file lacks stay empty."""
    figures = [r.get("after relaxation") or r["after clean-up"] for r in seeds]

    def share(values: Sequence[float]) -> str:
        return spread(values, "{:.0%}").replace("%", " %")

    def maybe(part: str, name: str) -> str:
        return share([r[part][name]["mean"] for r in seeds]) if all(part in r for r in seeds) else ""

    return [
        f"`{family}`",
        f"`{encoder}`",
        str(len(seeds)),
        f"{seeds[0]['parameters'] / 1e6:.2f} M",
        spread([r["steps"] for r in seeds], "{:.0f}"),
        *(share([f[name]["mean"] for f in figures]) for name in COLUMNS.values()),
        spread([r["clusters / samples at TM 0.5"] for r in seeds], "{:.2f}"),
        maybe("novelty", "share with TM below 0.5 (new folds)"),
        maybe("asked", "asked structure obtained"),
        maybe("refold", "refold TM of 0.5 or more"),
        spread([r["CPU seconds per sample"] for r in seeds], "{:.2f}"),
    ]


HEADS = ["family", "encoder", "seeds", "parameters", "steps", *COLUMNS, "clusters", "new folds", "H, E, C asked",
         "refold", "s / sample"]  # fmt: skip


def row_of_density(family: str, encoder: str, density: JSON) -> list[str]:
    """A row of the table of one space: -log p / l, standard error, n, kind; and what an older file lacks."""
    name = [f"`{family}`", f"`{encoder}`"]
    found = density.get("-log p / l")
    if found is None and family in ("flow_matching", "latent"):  # the prior of `latent` is a flow
        return [*name, "", "", "", "to be run again: recorded before flows began at a noisy point"]
    sign = 1 if found is not None else -1  # older files have log p / l
    found = found or density["nats per residue"]
    error = abs(found["ci_high"] - found["ci_low"]) / (2 * 1.96)
    return [*name, f"{sign * found['mean']:.2f}", f"{error:.2f}", str(found["n"]), KINDS[density["kind"]]]


def lines_of(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]


def densities(made: Results, noise: JSON) -> Iterator[str]:
    """A table for each space, of the first seeds."""
    for space, words in (("backbone", "frames"), ("torsions", "torsions")):
        rows = [
            row_of_density(*which, seeds[0]["likelihood"])
            for which, seeds in made.items()
            if seeds[0]["model"]["space"]["name"] == space and seeds[0]["likelihood"]["kind"] != "none"
        ]
        base = noise[space]
        yield from (
            "",
            f"## Densities over {words}",
            "",
            f"-log p / l in nats of held-out natives, y unknown, lower is likelier; {VOLUMES[space]}. The noise of the "
            f"space itself gives {base['nats per residue']:.2f} ± {base['standard error']:.2f} (n = {base['n']} "
            "natives of 40-96 residues): a model above it has learned less than nothing. Numbers of the two spaces are "
            "densities over different volumes and cannot be compared.",
            "",
            *lines_of(["family", "encoder", "-log p / l", "standard error", "n", "kind of -log p"], rows),
        )


SPACES = """## What is compared

Flow matching and diffusion move frames, one a residue, and have to learn that chains are whole. The others make
torsions and bond angles, so theirs are whole by construction (chains with a cis peptide are drawn again; a break is
then what the relaxation could not mend), and have to learn that chains are compact. There encoders of frames read the
chain that torsions make: `egnn` and `gvp` are the encoder of `vae` and `latent`, the critic of `gan`, and what
`autoregressive` reads of the residues before; decoders, the generator and the prior of `latent` are plain
transformers, and so is the whole of `normalizing_flow`. All train on the same items at the same rate, but the GAN: a
smaller batch and a lower rate, as it needs steps more than pairs.

What moves frames is compact. `autoregressive`, which places each residue before the next, is in 56 to 66 % of its
chains.
Families that make all torsions in one go have torsions of natives and the strings that are asked, and chains twice as
wide as natives that pair no strands: latents, and noise, of residues are independent, and what makes torsions does not
see where the chain goes. A radius or contacts that are asked for move the latents or the noise
([conditions](conditions.md)). A loss of the distances in the placed chain makes chains of a VAE as compact as natives,
of torsions that no native has; a decoder that reads its own frames does no better
([ablation](../benchmarks/ablation.md)).

These families are sampled without guidance, which is the point at twice the way from the chain without y to the chain
with it, and sends torsions that y leaves open anywhere (the VAE of eight minutes: 44 % favoured and 37 % of strings
with it, 88 and 88 % without). The VAE has a width of each torsion (`local_std`): one for all is as wide as those of
loops, and helices are then drawn as roughly (88 and 88 %, with a width of each 93 and 93 %). Beta 0.3 and the width
were chosen by such trials, at seed 0, as the cell has it.

The GAN has the relativistic loss with R1 and R2, as its critic soon told all samples with the non-saturating one. A
critic of frames alone sees a torsion by how it moves all that follows, and the penalty of its slope then keeps it from
telling torsions at all. So it reads the torsions beside the frames: after 3,000 steps (`protgen train
experiment=gan_torsions`) 53 % of residues of 24 designs are favoured with frames alone (`critic.coordinates=false`),
90 % with both, 93 % with torsions alone (`critic=transformer critic.dim=96 critic.blocks=3`)."""

DIFFUSION = """## Diffusion over frames

Rotations diffuse with a standard deviation that is linear in time, 0.02 to 2.2 rad, and each field weighs by the error
of its velocity in units of its scale, as in flow matching (`brownian=linear weighting=velocity`). `diffusion-small`,
which began from a trained flow, has the geometric schedule, 0.02 to 3 rad, and the simple weighting. There half of the
times have less than 14 degrees of noise a coordinate, and from nothing it learns no rotations in a short training
([ablation](../benchmarks/ablation.md))."""


def other_budget(folder: Path, made: Results) -> list[str]:
    """The section of cells of another budget that this one has not, by the JSON files of a folder."""
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    order = [(c["model"]["family"]["name"], encoder_of(c), c) for c in cells]
    order = [(family, encoder, cell) for family, encoder, cell in order if (family, encoder) not in made]
    if not order:
        return []
    first = order[0][2]
    return [
        f"## {first['CPU minutes']:g} minutes",
        "",
        f"Of `{first['command']}`, seed 0, n = {first['n']}; `benchmarks/results/{folder.name}`. For what the table "
        "above lacks yet.",
        "",
        *lines_of(HEADS, [row_of_designs(family, encoder, [cell]) for family, encoder, cell in order]),
    ]


def encoder_of(cell: JSON) -> str:
    """The encoder that a cell is of: its critic's, where what generates reads no frames."""
    return cell["model"].get("critic", cell["model"]["encoder"])["name"]


def loads(sessions: Sequence[JSON]) -> str:
    """How long a cell ran by the clock, and beside how much other work."""
    load = [value for session in sessions for value in session.get("load", [])]
    hours = sum(session.get("minutes", 0.0) for session in sessions) / 60
    return f"{hours:.1f} h, load {np.mean(load):.1f}"


def page(
    results: Results,
    failed: Mapping[tuple[str, str], str],
    command: str,
    noise: JSON,
    picture: str,
    more: Sequence[str] = (),
) -> str:
    """The cells as Markdown: designs, what else there is of them, learning curves, then densities over each space."""
    lines = ["# Families side by side", ""]
    lines += [*lines_of(HEADS, [row_of_designs(*which, seeds) for which, seeds in results.items()]), ""]
    lines += [f"`{family}` over `{encoder}` failed: {why}" for (family, encoder), why in failed.items()]
    if not results:
        return "\n".join([*lines, ""])
    first = next(iter(results.values()))[0]
    lines.append(
        f"Made by `{command}` on {first['machine']}. Figures are means over n = {first['n']} designs after relaxation, "
        "of several seeds with their range; the JSON files beside the table's script have intervals, and the figures "
        "before it. New folds have TM < 0.5 to every training item; H, E, C is the agreement with strings of natives "
        "that were asked for; refold is the share of the first 20 whose refold by the relative judge of "
        "`benchmarks/refold.py` has TM >= 0.5 (natives of 60-100 residues 89 %, with their loops drawn anew 3 %), "
        "where designs were kept."
    )
    clocks = [f"`{f}` over `{e}` {loads(s[0]['sessions'])}" for (f, e), s in results.items() if "sessions" in s[0]]
    if clocks:
        lines += ["", f"By the clock, beside other work on the same two cores: {', '.join(clocks)}."]
    lines += ["", *more] if more else []
    if any("curve" in seed for seeds in results.values() for seed in seeds):
        lines += ["", "## Learning curves", "", f"![whole chains and validation loss by step]({picture})", "",
                  "Four designs of 64 residues at 40 steps, without the relaxation, at each validation."]  # fmt: skip
    return "\n".join([*lines, "", SPACES, "", DIFFUSION, *densities(results, noise), ""])


def draw_curves(results: Results, path: Path) -> None:
    """Whole chains and validation loss by step, a line a cell; a cell without a curve has none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    whole, loss = figure.subplots(1, 2)
    families = list(dict.fromkeys(family for family, _ in results))
    for (family, encoder), seeds in results.items():
        look = {"color": f"C{families.index(family)}", "linestyle": "--" if encoder == "gvp" else "-"}
        for seed in seeds:
            curve = seed.get("curve", {"step": []})
            if not curve["step"]:
                continue
            label = f"{family}, {encoder}" + (f", seed {seed['seed']}" if seed["seed"] else "")
            whole.plot(curve["step"], curve["sample_unbroken"], label=label, **look)
            if family != "gan":  # whose loss need not fall
                loss.plot(curve["step"], np.array(curve["validation_loss"]) / curve["validation_loss"][0], **look)
    whole.set(xlabel="step", ylabel="whole chains", ylim=(-0.02, 1.02))
    loss.set(xlabel="step", ylabel="validation loss / its first value (no GAN)")
    figure.legend(*whole.get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=120)


def released(result: JSON) -> list[str]:
    """What `likelihoods.py` found of the released models, and of how the flow's number converges."""
    rows = [
        [f"`{name}`", m["space"], f"{m['nats per residue']:.2f}", f"{m['standard error']:.2f}", str(m["n"]),
         KINDS[m["kind of log p"]], "" if m["flow"] is None else f"t = {m['flow']['first']:g}, "
         f"{m['flow']['steps']} steps, {m['flow']['draws']} draws of 1 probe",
         f"{m['noise baseline']:.2f}"]
        for name, m in result["models"].items()
    ]  # fmt: skip
    lines = [
        "",
        "## Released models",
        "",
        f"Validation chains of {result['chains']['lengths'][0]}-{result['chains']['lengths'][1]} residues, few as "
        "it is a check and no benchmark; `python benchmarks/likelihoods.py CHAINS`. Compare within a space.",
        "",
        *lines_of(
            ["model", "space", "-log p / l", "standard error", "n", "kind of -log p", "first time", "noise"], rows
        ),
    ]
    if "convergence" in result:
        rows = [
            [f"{r['first']:g}", str(r["steps"]), str(r["draws"]), str(r["probes"]),
             ", ".join(f"{v:.2f}" for v in r["each"]), ", ".join(f"{v:.2f}" for v in r["error of each"])]
            for r in result["convergence"]["rows"]
        ]  # fmt: skip
        lines += [
            "",
            f"How the number of `{result['convergence']['model']}` depends on where and how finely it is integrated, "
            "for single chains and the same draws. An earlier first time is another, valid, bound; below the clip of "
            "the training weights (0.1) the network decides it. Fewer than 40 steps give too low a number; from 40 to "
            "160 it changes by less than the standard error of two draws, and by more probes by no more than that; "
            "from 0.05 it still rises at 80. The default is 50.",
            "",
            *lines_of(
                ["first time", "steps", "draws", "probes", "-log p / l of each chain", "standard error of each"], rows
            ),
        ]
    return lines


def whole_page(
    results: Results,
    failed: Mapping[tuple[str, str], str],
    command: str,
    folder: Path,
    curves: str,
    beside: Path | None = None,
) -> str:
    """The page with what other scripts have written to `folder`.

    Args:
        results: of the cells.
        failed: why others have none.
        command: by which they were made.
        folder: of `likelihood_baselines.json` and `likelihoods.json`.
        curves: the path of the picture, as the page names it.
        beside: folder of cells of another budget, which get a section where this one has none of them.
    """
    noise = json.loads((folder / "likelihood_baselines.json").read_text())
    text = page(results, failed, command, noise, curves, other_budget(beside, results) if beside is not None else ())
    if not (folder / "likelihoods.json").is_file():
        return text
    return "\n".join([text.rstrip(), *released(json.loads((folder / "likelihoods.json").read_text())), ""])

"""Hook of the site: results of benchmarks that pages link to become files of the site."""

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def on_files(files, config):
    """Add the reports and pictures of `benchmarks/results` below `results/`."""
    for path in sorted((*RESULTS.rglob("*.json"), *RESULTS.rglob("*.png"))):
        uri = "results/" + path.relative_to(RESULTS).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to `benchmarks/results` in the repository, as they are in the site."""
    return markdown.replace("../benchmarks/results/", "results/")

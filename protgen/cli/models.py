"""`protgen models`: the models that come with the package."""

from typing import TYPE_CHECKING

from protgen.cli.console import JsonOption, print_json, stdout, table

if TYPE_CHECKING:
    from protgen.models.released import ReleasedModel


def models(as_json: JsonOption = False) -> None:
    """List the models that come with the package."""
    from protgen.models.released import DEFAULT, released

    found = released()
    if as_json:
        print_json({"default": DEFAULT if found else None, "models": [as_object(model) for model in found]})
        return
    console = stdout()
    if not found:
        console.print("No model comes with this copy of protgen; give --model a folder with one.")
        return
    listing = table("<name", "<what", "lengths", "MB", "<card")
    for model in found:
        lengths = model.about.get("lengths")
        name = f"{model.name} (default)" if model.name == DEFAULT else model.name
        listing.add_row(
            name,
            model.what,
            f"{lengths[0]}-{lengths[1]}" if lengths else "-",
            f"{model.n_bytes / 1e6:.1f}",
            "card.md" if has_card(model) else "-",
        )
    console.print(listing)
    console.print(f"Folder: {found[0].folder.parent}", markup=False, soft_wrap=True)


def has_card(model: "ReleasedModel") -> bool:
    """Whether the model's folder holds its card."""
    return (model.folder / "card.md").is_file()


def as_object(model: "ReleasedModel") -> dict[str, object]:
    """A model for scripts: what `--json` prints of it."""
    return {
        "name": model.name,
        "what": model.what,
        "lengths": model.about.get("lengths"),
        "bytes": model.n_bytes,
        "folder": model.folder,
        "card": model.folder / "card.md" if has_card(model) else None,
    }

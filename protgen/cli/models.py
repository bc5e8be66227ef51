"""`protgen models`: the models that come with the package."""

from protgen.cli.console import stdout, table


def models() -> None:
    """List the models that come with the package."""
    from protgen.models.released import DEFAULT, released

    console = stdout()
    found = released()
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
            "card.md" if (model.folder / "card.md").is_file() else "-",
        )
    console.print(listing)
    console.print(f"Folder: {found[0].folder.parent}", markup=False, soft_wrap=True)

"""`perfkit cache`: how much the cache holds, and emptying it."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Show the size of perfkit's cache of builds, or empty it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def size() -> None:
    """Print where the cache is and how much it holds."""
    import os

    from perfkit import store
    from perfkit.units import format_bytes

    cache = store.cache_directory(os.environ)
    held = store.folder_size(cache) if cache.is_dir() else 0
    print(f"{cache}: {format_bytes(held)}")


@app.command()
def clean() -> None:
    """Remove every cached build, copy and lock; run directories are not touched."""
    import os

    from perfkit import store
    from perfkit.units import format_bytes

    cache = store.cache_directory(os.environ)
    held = store.folder_size(cache) if cache.is_dir() else 0
    with store.every_project_lock(cache):
        store.remove_tree(cache)
    print(f"removed {format_bytes(held)} from {cache}")

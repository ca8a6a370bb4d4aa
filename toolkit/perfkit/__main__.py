"""`python -m perfkit`: the same as the `perfkit` command."""

from __future__ import annotations

from perfkit.cli.app import main

if __name__ == "__main__":
    main()

"""Runs a script or a module under py-spy and writes its exit code to a file: py-spy hands on none.

Standard library alone; started by path in the user's interpreter:

    runner.py CODE_FILE script.py ARGS…        runner.py CODE_FILE -m module ARGS…
"""

# ruff: noqa: PTH100, PTH109, PTH120, PTH123
# Why: as little as possible is imported into the program that is looked at.

from __future__ import annotations

import os
import runpy
import sys
import traceback


def main() -> int:
    """Run the target as `python` would, and return its exit code."""
    _, _, first, *rest = sys.argv
    try:
        if first == "-m":
            sys.argv = rest
            sys.path[0] = os.getcwd()
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [first, *rest]
            sys.path[0] = os.path.dirname(os.path.abspath(first))
            runpy.run_path(first, run_name="__main__")
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        sys.stderr.write(f"{stop.code}\n")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    place = sys.argv[1]
    code = main()
    with open(place, "w", encoding="ascii") as stream:
        stream.write(str(code))
    sys.exit(code)

"""Runs a script, a module or a text under py-spy and writes its exit code to a file: py-spy hands
on none. Another file is made when it starts, and the program writes to a descriptor of its own:
py-spy's words are judged, so they must not be mixed with others.

Standard library alone; started by path in the user's interpreter:

    runner.py STARTED CODE DESCRIPTOR script.py ARGS…
    runner.py STARTED CODE DESCRIPTOR -m module ARGS…
    runner.py STARTED CODE DESCRIPTOR -c text ARGS…
"""

# ruff: noqa: PTH100, PTH109, PTH120, PTH123
# Why: as little as possible is imported into the program that is looked at.

from __future__ import annotations

import os
import runpy
import sys
import traceback
import types


def main() -> int:
    """Run the target as `python` would, and return its exit code."""
    _, _, _, _, first, *rest = sys.argv
    try:
        if first == "-m":
            sys.argv = rest
            sys.path[0] = os.getcwd()
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path[0] = ""
            module = types.ModuleType("__main__")
            sys.modules["__main__"] = module
            exec(compile(rest[0], "<string>", "exec"), module.__dict__)
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
    started, place = sys.argv[1:3]
    with open(started, "w", encoding="ascii"):
        for descriptor in (1, 2):
            os.dup2(int(sys.argv[3]), descriptor)
    code = main()
    with open(place, "w", encoding="ascii") as stream:
        stream.write(str(code))
    sys.exit(code)

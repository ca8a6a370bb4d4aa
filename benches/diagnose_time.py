"""How long `perfkit diagnose` takes for one workload, and which of its steps take the time.

Prints the seconds of each step and of the whole, as delimited by the command's progress lines. Off
a terminal some of these come late, so a few seconds may belong to the neighbouring step. Arguments
are those of `perfkit diagnose`; without any, it diagnoses the bundled plain kernel at its four
sizes. The limit is 120 s on two cores with the builds in perfkit's cache, so run it twice and read
the second result. It exits with 1 if the limit is exceeded.
"""

from __future__ import annotations

import subprocess
import sys
import time

LIMIT_S = 120.0
DEFAULT = ("--workload", "call_price_plain")


PARTS = (
    ("starting fresh processes", "timing"),
    ("calibrating ", "timing"),
    ("blocks count", "timing"),
    ("checking the result", "checking the results"),
    ("running the criterion bench", "running the criterion bench"),
    ("profiling the reference", "profiling the reference"),
    ("profiling at", "profiling"),
    ("perf at ", "profiling"),
    ("py-spy at ", "profiling"),
    ("busy", "waiting for the machine"),
)
"""Text in a progress line, and the step it belongs to."""


def step(line: str, current: str) -> str:
    """The step that a progress line belongs to."""
    found = next((name for part, name in PARTS if part in line), line)
    # The reference has the same progress lines as the subject, and comes last.
    return current if (current, found) == ("profiling the reference", "profiling") else found


def main() -> int:
    """Run it, print each step's seconds, judge the whole."""
    arguments = sys.argv[1:] or list(DEFAULT)
    begin = last = time.perf_counter()
    name, steps = "starting", []
    child = subprocess.Popen(
        ["perfkit", "diagnose", *arguments, "--output", "-"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        now = time.perf_counter()
        if (found := step(line.strip(), name)) != name:
            steps.append((name, now - last))
            name, last = found, now
    code = child.wait()
    end = time.perf_counter()
    steps.append((name, end - last))
    for told, seconds in steps:
        print(f"{seconds:7.1f} s  {told}")
    print(f"{end - begin:7.1f} s  in total; `perfkit diagnose` exited with {code}")
    return int(end - begin > LIMIT_S or code not in (0, 4))


if __name__ == "__main__":
    sys.exit(main())

"""Run a command to which the kernel refuses perf events, as a container's filter of system calls
does.

    python tests/truth/refused.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06  # of a word, of a constant: <linux/bpf_common.h>
ALLOW, EPERM = 0x7FFF0000, 0x00050001
KINDS = {"x86_64": (0xC000003E, 298), "aarch64": (0xC00000B7, 241)}
"""AUDIT_ARCH of each machine, and its number of `perf_event_open`."""


def refuse_perf_events() -> None:
    """Refuse `perf_event_open` to this process and all that it starts.

    Raises:
        OSError: the system has no such filters.
    """
    machine, number = KINDS[platform.machine()]
    program = b"".join(
        struct.pack("=HBBI", *row)
        for row in (
            (LOAD, 0, 0, 4),  # seccomp_data.arch
            (EQUALS, 0, 3, machine),
            (LOAD, 0, 0, 0),  # seccomp_data.nr
            (EQUALS, 0, 1, number),
            (RETURN, 0, 0, EPERM),
            (RETURN, 0, 0, ALLOW),
        )
    )
    rows = ctypes.create_string_buffer(program)
    whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(rows))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(whole), 0, 0),
    ):
        if libc.prctl(*words) != 0:
            raise OSError(ctypes.get_errno(), "no filter of system calls could be set")


if __name__ == "__main__":
    refuse_perf_events()
    os.execvp(sys.argv[1], sys.argv[1:])

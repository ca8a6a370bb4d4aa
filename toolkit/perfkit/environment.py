"""The machine and what child processes see of it: fingerprint, cores, thread counts, environments.

Only reads: perfkit never changes a governor or any other state of the system.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import process

if TYPE_CHECKING:
    from collections.abc import Mapping

THREAD_VARIABLES = (
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""What the thread pools of the field read at their first use."""

BASE_VARIABLES = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_NET_OFFLINE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LD_LIBRARY_PATH",
)
"""What builds and workers get of perfkit's own environment; everything else is left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The stable facts of a machine and its toolchain; two runs compare only when they are equal.

    Clock frequencies and load are not part of it: they jitter and say nothing about which machine
    it is.
    """

    cpu: str
    cores: int
    usable_cores: int
    quota_cores: float | None
    memory_bytes: int
    governor: str | None
    system: str
    python: str
    implementation: str
    rustc: str | None
    toolkit: str

    @property
    def key(self) -> str:
        """A short hash over all fields."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Fingerprint) -> list[str]:
        """The fields that differ, as `field: this | other`."""
        return [
            f"{name}: {getattr(self, name)} | {getattr(other, name)}"
            for name in self.__slots__
            if getattr(self, name) != getattr(other, name)
        ]


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores that the control group's CPU quota allows (cgroup v2, then v1), None without a
    quota.
    """
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        v1 = root / "cpu"
        quota_us = int((v1 / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((v1 / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 else None


def worker_threads(configured: int) -> int:
    """Threads the subject's pools get: the configured number, or every core it may really use."""
    if configured:
        return configured
    quota = quota_cores()
    cores = usable_cores()
    return max(1, min(cores, int(quota))) if quota is not None else cores


def fingerprint(environ: Mapping[str, str]) -> Fingerprint:
    """Read the machine's fingerprint."""
    import psutil

    from perfkit import __version__

    return Fingerprint(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        quota_cores=quota_cores(),
        memory_bytes=psutil.virtual_memory().total,
        governor=governor(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        implementation=sys.implementation.name,
        rustc=rustc_version(environ),
        toolkit=__version__,
    )


def rustc_version(environ: Mapping[str, str]) -> str | None:
    """`rustc --version`, or None where there is none."""
    program = process.find_program("rustc", environ)
    if program is None:
        return None
    return process.run([program, "--version"], env=dict(environ), timeout_s=30).stdout.strip()


def base_environment(
    environ: Mapping[str, str], *, extra: Mapping[str, str], passed: tuple[str, ...] = ()
) -> dict[str, str]:
    """The whole environment of a child: the whitelist, what the config hands on, what it sets.

    `LC_ALL=C` keeps the tools' numbers and messages in one language. Two runs with the same inputs
    give the same bytes, in the same order, because Cargo recompiles when its environment changes.
    """
    kept = {name: environ[name] for name in sorted({*BASE_VARIABLES, *passed}) if name in environ}
    return {**kept, "LC_ALL": "C", **extra}


def thread_environment(threads: int) -> dict[str, str]:
    """Pin every known thread pool to a number of threads, and let OpenMP's waiters sleep.

    A pool that spins after its turn steals the core of whoever is timed next.
    """
    return {**dict.fromkeys(THREAD_VARIABLES, str(threads)), "OMP_WAIT_POLICY": "passive"}


def governor() -> str | None:
    """What chooses the first core's clock frequency; None where that is not visible."""
    lines = _lines(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    return lines[0].strip() if lines else None


def _cpu_model() -> str:
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"


def _lines(path: Path) -> list[str]:
    """The lines of a file of the system's; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []

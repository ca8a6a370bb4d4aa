"""What the kernel permits this process, read from /proc; nothing is tried or changed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_CAP_SYS_ADMIN = 21
_CAP_PERFMON = 38
_CAP_SYS_PTRACE = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFacts:
    """The settings that decide whether a profiler may look.

    Attributes:
        perf_event_paranoid: None where the kernel has no perf events.
        ptrace_scope: of the Yama module; None where it is not loaded, which forbids nothing.
        seccomp: whether a system-call filter is on this process, as in most containers.
        capabilities: the effective capability bits.
        container: whether this looks like a container.
        system: `Linux`, `Darwin`, ….
    """

    perf_event_paranoid: int | None
    ptrace_scope: int | None
    seccomp: bool
    capabilities: int
    container: bool
    system: str = "Linux"

    @property
    def sees_kernel(self) -> bool:
        """Whether samples inside the kernel (page faults) may be taken."""
        low = self.perf_event_paranoid is not None and self.perf_event_paranoid <= 1
        return low or self._has(_CAP_PERFMON) or self._has(_CAP_SYS_ADMIN)

    @property
    def may_trace(self) -> bool:
        """Whether the capability to trace any process is there."""
        return self._has(_CAP_SYS_PTRACE)

    def _has(self, bit: int) -> bool:
        return bool(self.capabilities >> bit & 1)


def read_facts(root: Path = Path("/"), *, system: str = "Linux") -> SystemFacts:
    """Read them.

    Args:
        root: what stands for `/`.
        system: as `platform.system()` says it.
    """
    status = _text(root / "proc/self/status") or ""
    seccomp = re.search(r"^Seccomp:\s*(\d+)", status, re.MULTILINE)
    effective = re.search(r"^CapEff:\s*([0-9a-fA-F]+)", status, re.MULTILINE)
    cgroup = _text(root / "proc/1/cgroup") or ""
    marked = any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))
    return SystemFacts(
        perf_event_paranoid=_number(root / "proc/sys/kernel/perf_event_paranoid"),
        ptrace_scope=_number(root / "proc/sys/kernel/yama/ptrace_scope"),
        seccomp=bool(seccomp and int(seccomp[1])),
        capabilities=int(effective[1], 16) if effective else 0,
        container=marked or bool(re.search(r"docker|kubepods|containerd|lxc", cgroup)),
        system=system,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and re.fullmatch(r"\s*-?\d+\s*", text) else None

"""Builds with the real maturin and cargo, on the workspace subject."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.config import load_project
from perfkit.errors import BuildError, ConfigError, SourceError, UsageError
from perfkit.records import Build, Profile, Proof
from perfkit.subject import parameters, shadow
from perfkit.subject.builder import Builder
from perfkit.subject.child import spec_for, worker
from perfkit.subject.proof import prove
from perfkit.subject.rustc import parse_line

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.beside


def builder_of(root: Path, cache: Path, environ: dict[str, str], said: list[str]) -> Builder:
    project = load_project(start=root, environ=environ)
    return Builder(project, cache=cache, progress=said.append)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def builder(
    workspace_subject: Path, shared_cache: Path, environ: dict[str, str], said: list[str]
) -> Builder:
    return builder_of(workspace_subject, shared_cache, environ, said)


@pytest.fixture
def editing(
    editable_subject: Path, shared_cache: Path, environ: dict[str, str], said: list[str]
) -> Builder:
    return builder_of(editable_subject, shared_cache, environ, said)


def ask(build: Build, expression: str) -> object:
    """What the built module answers, in a process of its own."""
    code = f"import json, textstats; print(json.dumps(textstats.{expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(build.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def status(root: Path) -> str:
    """What git sees in the user's tree, ignored files too, but for the runs of other tests."""
    done = subprocess.run(
        ["git", "status", "--short", "--ignored", "--", ".", ":(exclude)profiles"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def edit(root: Path, name: str, before: str, after: str) -> None:
    file = root / name
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_a_release_build_is_what_was_asked_for(builder: Builder, workspace_subject: Path) -> None:
    build = builder.build()
    assert build.module_file.relative_to(build.root) == Path("textstats/_native.abi3.so")
    assert (build.root / "textstats" / "__init__.py").is_file()
    assert build.opt_level == "3"
    assert len(build.rustc) == 2
    assert build.initialisers == {
        "PARALLEL_THRESHOLD": "131_072",
        "CHUNK_BYTES": "CACHE_BYTES / 2",
        "PREFETCH_DISTANCE": "8",
    }
    assert status(workspace_subject) == ""


def test_the_users_flags_survive_in_both_profiles(builder: Builder) -> None:
    for profile in Profile:
        build = builder.build(profile=profile)
        info = ask(build, "build_info()")
        assert info == {"tuned": True, "sse4.2": True, "tables": 1}
        for line in build.rustc:
            assert "--cfg textstats_tuned" in line
            assert "target-cpu=x86-64-v2" in line


def test_a_profiling_build_has_symbols_and_frame_pointers(builder: Builder) -> None:
    from perfkit import _engine

    release, profiling = builder.build(), builder.build(profile=Profile.PROFILING)
    assert _engine.elf_info(release.module_file).stripped  # [tool.maturin] strip = true
    found = _engine.elf_info(profiling.module_file)
    assert not found.stripped
    assert found.has_debug_line
    assert all("-Cforce-frame-pointers=yes" in line for line in profiling.rustc)
    assert not any("force-frame-pointers" in line for line in release.rustc)


def test_an_edit_reaches_the_machine_code(builder: Builder, workspace_subject: Path) -> None:
    start = builder.build()
    edited = builder.build({"PARALLEL_THRESHOLD": 1_000, "CHUNK_BYTES": 500})
    assert ask(start, "parts(2000)") == 1
    assert ask(edited, "parts(2000)") == 4
    assert edited.text_sha256 != start.text_sha256
    assert status(workspace_subject) == ""


def test_the_value_that_the_sources_have_is_no_edit(builder: Builder) -> None:
    start = builder.build()
    same = builder.build({"CHUNK_BYTES": 32_768, "PARALLEL_THRESHOLD": 131_072})
    assert same.key == start.key
    assert same.params == {}


def test_values_that_are_handed_over_later_need_no_build(builder: Builder) -> None:
    assert builder.build({"tables": 4}).key == builder.build().key


def test_a_second_build_comes_from_the_cache(builder: Builder, said: list[str]) -> None:
    first = builder.build()
    said.clear()
    second = builder.build()
    assert second.cached
    assert second.build_s == first.build_s
    assert said == []


def test_a_damaged_build_is_made_again(builder: Builder, said: list[str]) -> None:
    build = builder.build()
    with build.module_file.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"damaged!")
    said.clear()
    again = builder.build()
    assert not again.cached
    assert again.file_sha256 == build.file_sha256
    assert any("damaged" in line for line in said)


def test_a_record_that_was_cut_short_is_made_again(builder: Builder, said: list[str]) -> None:
    build = builder.build()
    record = build.root.parent / "build.json"
    record.write_text(record.read_text(encoding="utf-8")[:200], encoding="utf-8")
    said.clear()
    assert not builder.build().cached
    assert any("damaged" in line for line in said)


def test_the_environment_of_builds_is_recorded(builder: Builder) -> None:
    record = json.loads((builder.build().root.parent / "build.json").read_text(encoding="utf-8"))
    assert record["environment"]["PYO3_PYTHON"] == sys.executable
    assert "RUSTFLAGS" not in record["environment"]
    assert record["toolchain"].startswith("rustc ")


def test_rustflags_of_the_shell_do_not_reach_the_build(
    workspace_subject: Path, shared_cache: Path, environ: dict[str, str], said: list[str]
) -> None:
    plain = builder_of(workspace_subject, shared_cache, environ, said).build()
    loud = {**environ, "RUSTFLAGS": "--cfg nobody_asked", "MATURIN_STRIP": "false"}
    other = builder_of(workspace_subject, shared_cache, loud, said).build()
    assert other.key == plain.key


def test_several_builds_live_side_by_side(builder: Builder) -> None:
    project = load_project(start=Path(builder._project.file).parent, environ=dict(os.environ))
    variants: list[dict[str, int]] = [{}, {"PARALLEL_THRESHOLD": 1_000}]
    builds = [builder.build(params) for params in variants]
    with worker(spec_for(project, builds[0])) as one, worker(spec_for(project, builds[1])) as two:
        assert one.loaded.sha256 == builds[0].file_sha256
        assert two.loaded.sha256 == builds[1].file_sha256
        assert one.loaded.path != two.loaded.path


def test_a_copy_has_the_same_bytes_at_another_place(builder: Builder) -> None:
    build = builder.build()
    copy = builder.copy(build)
    assert copy.file_sha256 == build.file_sha256
    assert copy.module_file.read_bytes() == build.module_file.read_bytes()
    assert copy.root != build.root


def test_the_bench_of_the_workload_is_built(builder: Builder) -> None:
    bench = builder.bench()
    assert parse_line(bench.rustc[-1]).opt_level == "3"
    assert any("--crate-name textstats_core" in line for line in bench.rustc)
    assert "--crate-name histogram" in bench.rustc[-1]
    listed = subprocess.run(
        [bench.executable, "--bench", "--list"],
        env=dict(bench.environment),
        cwd=bench.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "byte_histogram/1000: benchmark" in listed.stdout
    assert builder.bench().cached


def test_an_edit_elsewhere_costs_no_build(editing: Builder, editable_subject: Path) -> None:
    first = editing.build()
    (editable_subject / "NOTES.md").write_text("nothing that is compiled", encoding="utf-8")
    edit(editable_subject, "workloads.py", '"""Inputs', '"""The inputs')
    assert editing.build().key == first.key
    edit(editable_subject, "python/textstats/__init__.py", '"""Byte', '"""The byte')
    assert editing.build().key != first.key


def test_an_included_file_counts(editing: Builder, editable_subject: Path) -> None:
    (editable_subject / "words.txt").write_text("one", encoding="utf-8")
    edit(
        editable_subject,
        "crates/core/src/lib.rs",
        "cfg!(textstats_tuned), ",
        'include_str!("../../../words.txt") == "one", ',
    )
    edit(editable_subject, ".cargo/config.toml", '["--cfg", "textstats_tuned"]', "[]")
    first = editing.build()
    assert ask(first, "build_info()['tuned']") is True
    (editable_subject / "words.txt").write_text("two", encoding="utf-8")
    assert ask(editing.build(), "build_info()['tuned']") is False


def test_flags_under_build_are_joined_too(editing: Builder, editable_subject: Path) -> None:
    (editable_subject / ".cargo" / "config.toml").write_text(
        '[build]\nrustflags = ["--cfg", "textstats_tuned"]\n', encoding="utf-8"
    )
    build = editing.build(profile=Profile.PROFILING)
    assert ask(build, "build_info()") == {"tuned": True, "sse4.2": False, "tables": 1}


def test_a_cargo_configuration_that_git_ignores_holds_in_the_copy_too(
    editing: Builder, editable_subject: Path
) -> None:
    """As cargo itself reads it in the user's folder; also beside a revision that has none."""
    with (editable_subject / ".gitignore").open("a", encoding="utf-8") as stream:
        stream.write("/.cargo/\n")
    for words in (["rm", "-rq", "--cached", ".cargo"], ["commit", "-qam", "ignore .cargo"]):
        who = ["-c", "user.name=perfkit", "-c", "user.email=perfkit@localhost"]
        subprocess.run(["git", *who, *words], cwd=editable_subject, check=True)
    assert ask(editing.build(), "build_info()['tuned']") is True
    config = editable_subject / ".cargo" / "config.toml"
    assert editing.revision("HEAD").read(".cargo/config.toml") == config.read_bytes()
    config.write_text("[build]\n", encoding="utf-8")
    assert editing.revision("HEAD").read(".cargo/config.toml") == b"[build]\n"


def test_what_cargo_reads_is_copied_although_git_ignores_it(
    editable_subject: Path, environ: dict[str, str]
) -> None:
    (editable_subject / ".gitignore").write_text("*.lock\n.cargo/\n*.txt\n", encoding="utf-8")
    ignored = ["fuzz/Cargo.lock", "fuzz/.cargo/config.toml"]
    for name in (*ignored, "fuzz/Cargo.toml", "fuzz/other.lock", "fuzz/notes.txt"):
        (editable_subject / name).parent.mkdir(parents=True, exist_ok=True)
        (editable_subject / name).write_text("", encoding="utf-8")
    tree = shadow.working_tree(editable_subject, is_git=True, environment=environ)
    assert sorted(tree.ignored) == sorted(ignored)
    assert {name for name in tree.files if name.startswith("fuzz/")} == {
        *ignored,
        "fuzz/Cargo.toml",
    }


def test_a_lock_file_that_git_ignores_is_the_users_of_now(
    editing: Builder, editable_subject: Path
) -> None:
    """Beside a revision that has none; also when the user's has changed since."""
    with (editable_subject / ".gitignore").open("a", encoding="utf-8") as stream:
        stream.write("/Cargo.lock\n")
    for words in (["rm", "-q", "--cached", "Cargo.lock"], ["commit", "-qam", "ignore Cargo.lock"]):
        who = ["-c", "user.name=perfkit", "-c", "user.email=perfkit@localhost"]
        subprocess.run(["git", *who, *words], cwd=editable_subject, check=True)
    lock = editable_subject / "Cargo.lock"
    assert editing.revision("HEAD").read("Cargo.lock") == lock.read_bytes()
    with lock.open("a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    assert editing.revision("HEAD").read("Cargo.lock") == lock.read_bytes()
    assert not editing.revision("HEAD~").read("Cargo.lock").endswith(b"# changed\n")


def test_rustcs_own_error_is_shown(editing: Builder, editable_subject: Path) -> None:
    edit(editable_subject, "crates/core/src/tuning.rs", "usize = 131_072", "usize = true")
    with pytest.raises(BuildError, match="the build failed") as caught:
        editing.build()
    assert "error[E0308]: mismatched types" in caught.value.details
    assert "crates/core/src/tuning.rs:4" in caught.value.details
    assert caught.value.exit_code == 5
    assert status(editable_subject) == " M crates/core/src/tuning.rs\n"


def test_a_source_that_cannot_be_parsed_is_a_failed_build(
    editing: Builder, editable_subject: Path
) -> None:
    edit(editable_subject, "crates/core/src/tuning.rs", "pub const CHUNK", "pub cnst CHUNK")
    with pytest.raises(BuildError, match="not Rust") as caught:
        editing.build()
    assert caught.value.exit_code == 5
    assert caught.value.where.startswith(f"{editable_subject}/crates/core/src/tuning.rs:")
    assert "cargo check" in caught.value.remedy


def test_a_value_that_does_not_compile_is_a_failed_build(editing: Builder) -> None:
    with pytest.raises(BuildError, match="the build failed") as caught:
        editing.build({"CHUNK_BYTES": "nowhere()"})
    assert "cannot find function `nowhere`" in caught.value.details
    assert ask(editing.build(), "parts(1)") == 1


@pytest.mark.parametrize("value", ["1 +", "", "1; 2"])
def test_a_value_that_is_no_rust_is_refused_before_building(builder: Builder, value: str) -> None:
    with pytest.raises(SourceError):
        builder.build({"CHUNK_BYTES": value})


def test_a_missing_constant_is_named(editing: Builder, editable_subject: Path) -> None:
    edit(editable_subject, "crates/core/src/tuning.rs", "pub const PREFETCH_DISTANCE", "const GONE")
    with pytest.raises(SourceError, match="PREFETCH_DISTANCE"):
        editing.build()


def test_an_unknown_parameter_is_refused(builder: Builder) -> None:
    with pytest.raises(UsageError, match="did you mean 'CHUNK_BYTES'"):
        builder.build({"CHUNK_BYTE": 1})


def test_a_build_without_optimisation_is_refused(editing: Builder, editable_subject: Path) -> None:
    edit(editable_subject, "Cargo.toml", "codegen-units = 1", "opt-level = 0")
    with pytest.raises(BuildError, match="without optimisation"):
        editing.build()


def test_another_module_than_the_built_one_is_refused(
    editing: Builder, editable_subject: Path, shared_cache: Path, environ: dict[str, str]
) -> None:
    edit(editable_subject, "perfkit.toml", '"textstats._native"', '"textstats._other"')
    with pytest.raises(BuildError, match=r"no extension for the module `textstats\._other`"):
        builder_of(editable_subject, shared_cache, environ, []).build()


def test_a_manifest_that_is_no_crate_is_refused(
    editable_subject: Path, shared_cache: Path, environ: dict[str, str]
) -> None:
    edit(editable_subject, "perfkit.toml", '"crates/bindings/Cargo.toml"', '"Cargo.toml"')
    with pytest.raises(ConfigError, match=r"not the Cargo\.toml of a crate"):
        builder_of(editable_subject, shared_cache, environ, []).build()


def test_a_path_dependency_outside_of_the_tree_is_named(
    editing: Builder, editable_subject: Path, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").write_text("", encoding="utf-8")
    (tmp_path / "Cargo.toml").write_text(
        '[package]\nname = "outside"\nversion = "1.0.0"\n', encoding="utf-8"
    )
    edit(
        editable_subject,
        "crates/core/Cargo.toml",
        "[dependencies]\n",
        f'[dependencies]\noutside = {{ path = "{tmp_path}" }}\n',
    )
    with pytest.raises(BuildError, match="is outside the copied tree") as caught:
        editing.build()
    assert str(tmp_path) in caught.value.message
    assert status(editable_subject) == " M crates/core/Cargo.toml\n"


def test_a_missing_lock_file_is_made_in_the_copy_alone(
    editing: Builder, editable_subject: Path
) -> None:
    (editable_subject / "Cargo.lock").unlink()
    assert ask(editing.build(), "parts(1)") == 1
    assert not (editable_subject / "Cargo.lock").exists()
    assert status(editable_subject) == " D Cargo.lock\n"


def test_a_revision_is_built_beside_the_working_tree(
    editing: Builder, editable_subject: Path
) -> None:
    edit(editable_subject, "crates/core/src/tuning.rs", "usize = 131_072", "usize = 1_000")
    before, after = editing.build(source=editing.revision("HEAD")), editing.build()
    assert ask(before, "parts(2000)") == 1
    assert ask(after, "parts(2000)") == 1
    assert ask(before, "parts(200000)") == ask(after, "parts(200000)") == 7
    assert before.text_sha256 != after.text_sha256
    assert status(editable_subject) == " M crates/core/src/tuning.rs\n"


def test_an_unknown_revision_is_refused(builder: Builder) -> None:
    for name in ("nosuch", "--help", ""):
        with pytest.raises(UsageError, match="no revision"):
            builder.revision(name)


def test_a_wheel_of_somebody_else_is_unpacked(builder: Builder, tmp_path: Path) -> None:
    build = builder.build()
    wheel = tmp_path / "text_stats-0.3.0-cp311-abi3-linux_x86_64.whl"
    shutil.make_archive(str(wheel), "zip", build.root)
    Path(f"{wheel}.zip").rename(wheel)
    found = builder.from_wheel(wheel)
    assert found.file_sha256 == build.file_sha256
    assert (found.rustc, found.opt_level, found.params) == ((), "", {})
    with pytest.raises(BuildError, match="no such wheel"):
        builder.from_wheel(tmp_path / "nosuch.whl")


def test_a_project_without_git_is_built_and_says_so(
    editable_subject: Path, tmp_path: Path, shared_cache: Path, environ: dict[str, str]
) -> None:
    shutil.rmtree(editable_subject / ".git")
    # The folder lies in perfkit's own repository, which would be taken for the project's.
    place = Path("/tmp") / "perfkit-test-without-git"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(editable_subject, place)
    try:
        build = builder_of(place, shared_cache, environ, []).build()
    finally:
        shutil.rmtree(place)
    assert [note.id for note in build.notes] == ["no-git"]


KILLED = """
import os, sys
from pathlib import Path
from perfkit.config import load_project
from perfkit.subject.builder import Builder
project = load_project(start=Path(sys.argv[1]), environ=dict(os.environ))
def say(text):
    print(text, flush=True)
builder = Builder(project, cache=Path(sys.argv[2]), progress=say)
builder.build({"PARALLEL_THRESHOLD": int(sys.argv[3])})
"""


def test_a_kill_in_the_middle_leaves_nothing_behind(
    editing: Builder, editable_subject: Path, shared_cache: Path
) -> None:
    start = editing.build()
    value = 1_000 + time.time_ns() % 1_000_000  # never in the cache
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), editable_subject, shared_cache, str(value)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "Compiling textstats-core" in line:
            os.kill(child.pid, signal.SIGKILL)
            break
    assert child.wait(30) == -signal.SIGKILL
    assert status(editable_subject) == ""
    built = editing.build({"PARALLEL_THRESHOLD": value})
    assert ask(built, f"parts({value})") == -(-value // 32_768)
    assert ask(built, f"parts({value - 1})") == 1
    assert built.text_sha256 != start.text_sha256
    assert ask(editing.build(), "parts(131071)") == 1
    assert not list(built.root.parents[1].glob(".*.tmp"))


SLOW_BUILD_SCRIPT = """
use std::{fs, path::Path, thread, time::Duration};
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    fs::write("PLACE/started", "").unwrap();
    for _ in 0..1200 {
        if Path::new("PLACE/go").exists() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody let the build go on");
}
"""


def test_a_build_waits_for_what_a_killed_perfkit_left_compiling(
    editing: Builder, editable_subject: Path, shared_cache: Path, tmp_path: Path, said: list[str]
) -> None:
    """A cargo that outlives its perfkit reads the copy on: nobody may rewrite it meanwhile."""
    script = SLOW_BUILD_SCRIPT.replace("PLACE", str(tmp_path))
    (editable_subject / "crates" / "core" / "build.rs").write_text(script, encoding="utf-8")
    value = 1_000 + time.time_ns() % 1_000_000  # never in the cache
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), editable_subject, shared_cache, str(value)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until((tmp_path / "started").exists)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL

    copied = editing._place.shadow / "crates" / "core" / "src" / "tuning.rs"
    left = copied.read_text(encoding="utf-8")
    assert f"usize = {value:_};" in left
    with ThreadPoolExecutor() as pool:
        try:
            building = pool.submit(editing.build, {"PARALLEL_THRESHOLD": value + 1})
            wait_until(lambda: any("waiting for another build" in line for line in said))
            assert any("(cargo)" in line for line in said)
            assert not any("copying" in line for line in said)
            assert copied.read_text(encoding="utf-8") == left
        finally:
            (tmp_path / "go").touch()
        built = building.result(120)
    assert ask(built, f"parts({value})") == 1
    assert ask(built, f"parts({value + 1})") == -(-(value + 1) // 32_768)


HOLDING = """
import fcntl, sys
stream = open(sys.argv[1], "ab")
fcntl.flock(stream, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_build_that_does_not_end_is_named(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.build()
    monkeypatch.setattr("perfkit.subject.cache.LOCK_TIMEOUT_S", 0.0)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, builder._place.folder / "build.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BuildError, match="has not ended") as caught:
            builder.revision("HEAD")
        assert f"process {holder.pid} (python" in caught.value.remedy
        holder.communicate()
    builder.revision("HEAD")


def wait_until(holds: Callable[[], bool]) -> None:
    """Look again and again, for a minute at the most."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass within a minute"
        time.sleep(0.02)


def test_proofs_without_a_getter(
    builder: Builder, workspace_subject: Path, environ: dict[str, str]
) -> None:
    project = load_project(start=workspace_subject, environ=environ)
    start = builder.build()

    def proof(params: dict[str, int], *known: Build) -> dict[str, Proof]:
        build = builder.build(params)
        with worker(spec_for(project, build, parameters.assign(project, params))) as running:
            loaded = running.loaded
        found = prove(build, loaded, start, params, project=project, known=known)
        return {item.name: item.proof for item in found}

    assert proof({"CHUNK_BYTES": 16_384}) == {"CHUNK_BYTES": Proof.TEXT}
    assert proof({"PREFETCH_DISTANCE": 16}) == {"PREFETCH_DISTANCE": Proof.DEAD}
    assert proof({"CHUNK_BYTES": 32_768}) == {"CHUNK_BYTES": Proof.DEFAULT}
    assert proof({"tables": 2}) == {"tables": Proof.PASSED}
    # Of two edits at once, the code cannot tell which of them it follows.
    both = {"CHUNK_BYTES": 16_384, "PREFETCH_DISTANCE": 16}
    assert proof(both) == dict.fromkeys(both, Proof.UNPROVED)
    alone = [builder.build({name: value}) for name, value in both.items()]
    assert proof(both, *alone) == {"CHUNK_BYTES": Proof.TEXT, "PREFETCH_DISTANCE": Proof.DEAD}

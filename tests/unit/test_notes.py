"""The ids of notes: code asks for members of a closed set, and for no other."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from perfkit.diagnose.collect import ROUTINE
from perfkit.records import NoteId

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def nodes(repository: Path) -> list[ast.AST]:
    files = sorted((repository / "toolkit" / "perfkit").rglob("*.py"))
    assert files
    return [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]


def ids(nodes: list[ast.AST]) -> list[ast.expr]:
    """The `id` of every note that the code makes."""
    return [
        keyword.value
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Note"
        for keyword in node.keywords
        if keyword.arg == "id"
    ]


def test_a_note_that_code_asks_for_has_its_id_from_the_closed_set(nodes: list[ast.AST]) -> None:
    given = {ast.unparse(value) for value in ids(nodes)}
    assert {f"NoteId.{one.name}" for one in NoteId} <= given, "a member that no note has"
    spelt = {value.value for value in ids(nodes) if isinstance(value, ast.Constant)}
    assert len(spelt) > 40
    assert spelt.isdisjoint(NoteId), "a member written as a string"


def test_code_asks_for_no_other_id(nodes: list[ast.AST]) -> None:
    asked = [
        node
        for node in nodes
        if isinstance(node, ast.Compare) and ast.unparse(node.left) in {"note.id", "n.id"}
    ]
    against = {ast.unparse(other) for node in asked for other in node.comparators}
    known = {"NoteId.INTERRUPTED", "NoteId.KERNEL_UNSEEN", "NoteId.PERF_JIT", "ROUTINE"}
    assert against == known
    assert all(isinstance(one, NoteId) for one in ROUTINE)
    in_use = {f"NoteId.{one.name}" for one in ROUTINE} | known - {"ROUTINE"}
    assert in_use == {f"NoteId.{one.name}" for one in NoteId}, "a member that no code asks for"

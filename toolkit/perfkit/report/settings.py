"""What `perfkit config` shows: values with their origins, and the meaning of each key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perfkit.records import SCHEMA_VERSION
from perfkit.report.page import Page, Paragraph, Report, Table, columns
from perfkit.store import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.config import Key


def values_report(file: Path, values: Sequence[tuple[str, object, str]]) -> Report:
    """Each value in force as (dotted key, value, origin)."""
    rows = tuple(
        (key, json.dumps(value, ensure_ascii=False), origin) for key, value, origin in values
    )
    table = Table(columns=columns("<key", "<value", "<origin"), rows=rows)
    return Report(
        page=Page(title="Configuration in force", blocks=(Paragraph(text=f"File: {file}"), table)),
        document={
            "schema_version": SCHEMA_VERSION,
            "file": str(file),
            "values": [
                {"key": key, "value": to_json(value), "origin": origin}
                for key, value, origin in values
            ],
        },
    )


def keys_report(keys: Sequence[Key]) -> Report:
    """Each legal key with what it takes and means."""
    rows = tuple(
        (key.name, key.type, "required" if key.default is None else key.default, key.description)
        for key in keys
    )
    table = Table(columns=columns("<key", "<takes", "<default", "<meaning"), rows=rows)
    text = "NAME stands for a name that you choose."
    return Report(
        page=Page(title="Keys of perfkit.toml", blocks=(Paragraph(text=text), table)),
        document={"schema_version": SCHEMA_VERSION, "keys": to_json(list(keys))},
    )

"""What `perfkit config` shows: values with their origins, and the meaning of each key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perfkit.report.machine import report_of
from perfkit.report.page import Page, Paragraph, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.config import Key
    from perfkit.records import ConfigValue
    from perfkit.report.page import Report


def values_report(file: Path, values: Sequence[ConfigValue]) -> Report:
    """Each value in force with its origin."""
    shown = table(
        values,
        {
            "<key": lambda one: one.key,
            "<value": lambda one: json.dumps(one.value, ensure_ascii=False),
            "<origin": lambda one: one.origin,
        },
    )
    page = Page(title="Configuration in force", blocks=(Paragraph(text=f"File: {file}"), shown))
    return report_of(page, {"file": file, "values": values})


def keys_report(keys: Sequence[Key]) -> Report:
    """Each legal key with what it takes and means."""
    shown = table(
        keys,
        {
            "<key": lambda key: key.name,
            "<takes": lambda key: key.type,
            "<default": lambda key: "required" if key.default is None else key.default,
            "<meaning": lambda key: key.description,
        },
    )
    text = Paragraph(text="NAME stands for a name that you choose.")
    return report_of(Page(title="Keys of perfkit.toml", blocks=(text, shown)), {"keys": keys})

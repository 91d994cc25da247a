"""Safe YAML: a run directory may come from anybody.

PyYAML's safe loader creates no objects, but nested aliases expand a kilobyte to gigabytes, and deep nesting overflows the
stack. Files written by this program have no aliases and are neither large nor deep.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deit.errors import UserError

MOST_BYTES = 1 << 20
MOST_DEPTH = 32
# PyYAML and libyaml read these characters alike; they differ in tabs, byte order marks, tags, question marks in braces and
# control characters.
SAME_IN_LIBYAML = re.compile(r"(?:[\n\x20\x22-\x3e\x40-\x7e\xa1-\ud7ff]|: \?{3}(?=[\n ]))*")


class _PlainLoader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed")
        if self.depth == MOST_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MOST_DEPTH} deep")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def load(path: Path) -> Any:
    """The content of a YAML file of a run directory.

    Raises FileNotFoundError if it is missing, UserError if it is not plain YAML.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: larger than {MOST_BYTES} bytes, the limit for such a file.")
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, yaml.CSafeLoader if _is_plain(text) else _PlainLoader)
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: invalid UTF-8, date or number
        raise UserError(f"{path}: not readable as YAML ({str(error).splitlines()[0]}).") from None


def _is_plain(text: str) -> bool:
    """Whether libyaml, which is several times as fast, reads ``text`` as ``_PlainLoader`` does, and without its limits."""
    if not yaml.__with_libyaml__ or not SAME_IN_LIBYAML.fullmatch(text):
        return False
    depth = 0
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth == MOST_DEPTH:
                return False
    except yaml.YAMLError:  # the messages are those of PyYAML
        return False
    return True

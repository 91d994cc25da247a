"""YAML as data: what a run directory holds may come from anybody.

PyYAML's safe loader makes no objects, but a file of a kilobyte can still stand for gigabytes, by aliases of aliases, and a
deep one overflows the interpreter's stack. What this program writes has no aliases, and is neither large nor deep.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deit.errors import UserError

MOST_BYTES = 1 << 20
MOST_DEPTH = 32


class _PlainLoader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias, of which plain files have none")
        if self.depth == MOST_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MOST_DEPTH} deep")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def load(path: Path) -> Any:
    """The content of a YAML file of a run directory.

    Raises FileNotFoundError where there is none, UserError where it is not readable as plain YAML.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: larger than the {MOST_BYTES} bytes that such a file may need.")
        return yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: bytes that are no text, a date or number that is none
        raise UserError(f"{path}: not readable as YAML ({str(error).splitlines()[0]}).") from None

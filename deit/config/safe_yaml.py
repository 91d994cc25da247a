"""Safe YAML: a run directory may come from anybody.

PyYAML's safe loader creates no objects, but nested aliases expand a kilobyte to gigabytes, and deep nesting overflows the
stack. Files written by this program have no aliases and are neither large nor deep.
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
        return yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: invalid UTF-8, date or number
        raise UserError(f"{path}: not readable as YAML ({str(error).splitlines()[0]}).") from None

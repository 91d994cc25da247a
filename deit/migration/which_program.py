"""Which program a configuration belongs to."""

from __future__ import annotations

from typing import Any

from deit.errors import UserError
from deit.migration import mindcv, modelzoo, modelzoo_gpu
from deit.migration.translation import Translation
from deit.text import listed

PROGRAMS = (modelzoo, modelzoo_gpu, mindcv)


def translate(theirs: Any) -> Translation:
    """The translation of the content of a YAML file.

    Raises UserError if it does not belong to a known program or is not of a DeiT, or has a value of a wrong type.
    """
    if not isinstance(theirs, dict) or not all(isinstance(key, str) for key in theirs):
        raise UserError("keys with values are expected.")
    for program in PROGRAMS:
        if all(key in theirs for key in program.MARKS):
            return program.translate(theirs)
    known = "; ".join(f"{program.PROGRAM} ({', '.join(program.MARKS)})" for program in PROGRAMS)
    raise UserError(
        f"it has the keys {listed(list(theirs), 6) or 'of none'}; allowed are configurations with all of the keys of {known}."
    )

"""The log of what is sent to MLflow, without the credentials that its messages may contain."""

from __future__ import annotations

import logging
from typing import TextIO

from deit.secrets import redact


class _Redacted(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def log_to(stream: TextIO, *, level: int = logging.INFO, form: str = "%(asctime)s %(message)s") -> None:
    """Write all log records of this process from ``level`` on to ``stream``, and nowhere else."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Redacted(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)

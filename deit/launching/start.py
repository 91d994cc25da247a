"""Where a checked configuration goes: into the dry run or into a real one."""

from __future__ import annotations

from typing import Any

from deit.config.schema import RunConfig


def start(config: RunConfig, overrides: list[str], sweep: dict[str, Any] | None = None) -> int:
    """Run, or with dry_run only show, one configuration; returns the exit code.

    ``overrides`` is what was typed; ``sweep`` (id, overrides) marks a trial.
    """
    if config.task.name == "convert":
        from deit.launching.convert import convert

        return convert(config)
    if config.dry_run:
        from deit.dry_run import show

        show(config, overrides)
        return 0
    from deit.launching.run import run_task

    return run_task(config, overrides, sweep=sweep)

"""Where a checked configuration goes: into the dry run or into a real one."""

from __future__ import annotations

from deit.config.schema import RunConfig
from deit.config.tasks import CompareTask, InferenceTask, PostprocessTask


def start(config: RunConfig, overrides: list[str]) -> int:
    """Run, or with dry_run only show, one configuration; returns the exit code. ``overrides`` is what was typed."""
    if config.task.name == "convert":
        from deit.commands.convert import convert

        return convert(config)
    if config.task.name == "report":
        from deit.commands.report import report

        return report(config)
    if config.task.name == "check_data":
        from deit.commands.check_data import check_data

        return check_data(config)
    if config.task.name == "pack":
        from deit.commands.pack import pack

        return pack(config)
    if config.task.name == "sync":
        from deit.commands.sync import sync

        return sync(config, overrides)
    if config.task.name == "register":
        from deit.commands.register import register

        return register(config, overrides)
    if isinstance(config.task, InferenceTask | PostprocessTask):
        from deit.commands.offline import postprocess, preprocess
        from deit.preflight.networks import intention

        if config.dry_run:
            print(f"dry run: {intention(config)}")
            return 0
        if config.task.name == "preprocess":
            return preprocess(config)
        if config.task.name == "postprocess":
            return postprocess(config, overrides)
    if isinstance(config.task, CompareTask) and config.dry_run:
        print(
            f"dry run: would compare {', '.join(config.task.models)} on {config.task.input or f'the data {config.data.name}'}"
        )
        return 0
    if config.dry_run:
        from deit.commands.dry_run import show

        show(config)
        return 0
    from deit.launching.run import run_task

    return run_task(config, overrides)

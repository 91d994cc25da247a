"""The command line: from the typed arguments to a checked configuration, and into the launcher.

Hydra composes and keeps its own options (-m, --cfg, --info, shell completion); it runs nothing and creates no folders.
A user's mistake ends in one message on stderr and exit code 2, before anything is written.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from deit.commands import table
from deit.compose import flags, groups, overrides
from deit.compose.hydra_errors import ERRORS, translate
from deit.config.schema import RunConfig
from deit.data.class_files import folders_listed_once
from deit.errors import UserError
from deit.installation import note_call, program
from deit.secrets import redact

QUICKSTART = """
Without arguments this is DeiT-small on ImageNet. A first run that needs no data and takes minutes on any machine:

    {program} experiment=quickstart

All options: {program} --help"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: the arguments of the process); returns the exit code.

    0 success, 1 the task or a trial failed, 2 bad configuration or usage, 130 interrupted.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        note_call(sys.argv[0])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an ASCII terminal must not crash on a name with other letters
    try:
        with folders_listed_once():
            return _run(flags.normal(typed))
    except UserError as error:
        print(redact(str(error)), file=sys.stderr)
        if not typed:
            print(QUICKSTART.format(program=program()), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe; the interpreter must not flush into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    finally:
        if arguments is None:
            gc.freeze()  # the interpreter would search all that was composed for cycles as it ends


def _run(typed: list[str]) -> int:
    args = flags.parse(typed)
    groups.use(args.config_dir)
    table.register()
    try:
        if args.hydra_help:
            print(flags.hydra_page(), end="")
            return 0
        if args.help:
            from deit.compose import help  # late: it imports rich, a tenth of the time of composing

            help.show(args.overrides)
            return 0
        given: list[Override] = []
        if not args.shell_completion:
            given = overrides.check(args.overrides, sweeping=_sweeps(args))
            for line in [*overrides.given_twice(given), *overrides.old_names(given)]:
                print(redact(line), file=sys.stderr)
        composed = _compose(typed, args.overrides)
        if composed is None:
            return 0
        config = table.configured(composed, given)
    except ERRORS as error:
        raise translate(error, args.overrides) from error
    if config.sweep.resume is not None:
        return _resume_sweep(config, given)
    ignored = table.unused(config, given) + overrides.of_sweeps(given)
    if ignored:
        raise UserError("\n".join(ignored))
    return table.start(config, [redact(text) for text in args.overrides if not text.startswith("hydra")])


def _resume_sweep(config: RunConfig, given: Sequence[Override]) -> int:
    """``sweep.resume=``: its trials are frozen and need no Hydra; a search composes new ones with the arguments of then."""
    from deit.sweeps import start

    again = start.resume(config, given)
    if again is None:
        return 0
    args = flags.parse(again)
    groups.use(args.config_dir)
    if _compose(again, args.overrides) is not None:
        raise AssertionError("a search composes no single run")
    return 0


def _compose(typed: list[str], settings: list[str]) -> DictConfig | None:
    """Let Hydra compose; ``settings`` are the arguments of ``typed`` that are not flags.

    Returns the configuration of a single run, which is not started yet; None if Hydra has already done everything (printed
    help, or run a sweep).
    """
    composed: list[DictConfig] = []
    of_hydra: list[Any] = []

    @hydra.main(config_path=str(groups.CONF), config_name="config", version_base="1.3")
    def collect(config: DictConfig) -> None:
        composed.append(config)
        of_hydra.append(HydraConfig.instance().cfg)

    # Without this Hydra prints and swallows errors itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra's parser wants all settings in one place, though people type `experiment=quickstart -m seed=0,1`.
    others = [text for text in typed if text not in settings]
    sys.argv = [sys.argv[0], *overrides.readable(settings), *others]
    try:
        collect()
    except SystemExit as end:  # Hydra exits after its help pages
        if end.code not in (None, 0):
            raise
    if of_hydra:  # for `${hydra:...}`, resolved when the configuration is frozen
        HydraConfig.instance().cfg = of_hydra[0]
    return composed[0] if composed else None


def _sweeps(args: argparse.Namespace) -> bool:
    template = any(text.startswith("sweep=") for text in args.overrides)
    return args.multirun or template or "hydra.mode=MULTIRUN" in args.overrides

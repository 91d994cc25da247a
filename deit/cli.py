"""The command line: from what is typed to a checked configuration, and from there into the launcher.

Hydra composes and keeps its own options (-m, --cfg, --info, shell completion); it runs nothing and makes no
folders. Whatever a person can mend ends in one message on stderr and exit code 2, before anything is written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from deit.compose import freeze, groups, help, keys, overrides
from deit.compose.hydra_errors import ERRORS, translate
from deit.config.schema import RunConfig
from deit.errors import UserError, nearest
from deit.secrets import redact


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments (default: those of the process) say; returns the exit code:

    0 all well, 1 the task or a trial failed, 2 bad configuration or usage, 130 interrupted.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(typed)
    except UserError as error:
        print(redact(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough; the interpreter must not flush into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(typed: list[str]) -> int:
    args = _parse(typed)
    freeze.register()
    try:
        if args.help:
            help.show(args.overrides)
            return 0
        given: list[Override] = []
        if not (args.shell_completion or args.hydra_help):
            given = overrides.check(args.overrides, sweeping=_sweeps(args))
        composed = _compose(typed, args.overrides)
        if composed is None:
            return 0
        config = freeze.freeze(composed, given)
    except ERRORS as error:
        raise translate(error, args.overrides) from error
    if config.sweep.resume is not None:
        return _resume_sweep(config, given)
    ignored = freeze.idle(config, given) + overrides.of_sweeps(given)
    if ignored:
        raise UserError("\n".join(ignored))
    from deit.commands.table import start  # the launcher is not needed to show a configuration

    return start(config, [redact(text) for text in args.overrides if not text.startswith("hydra")])


def _resume_sweep(config: RunConfig, given: Sequence[Override]) -> int:
    """``sweep.resume=``: its trials are frozen and need no Hydra; a search composes more of them by what was typed then."""
    from deit.sweeps import start

    again = start.resume(config, given)
    if again is not None and _compose(again, _parse(again).overrides) is not None:
        raise AssertionError("a search composes no single run")
    return 0


def _compose(typed: list[str], settings: list[str]) -> DictConfig | None:
    """Let Hydra do its part; ``settings`` are the words of ``typed`` that are no flags.

    Returns the composed configuration of a single run, which is still to be started; None where Hydra has done all there
    was to do: shown something, or swept through the trials.
    """
    composed: list[DictConfig] = []

    @hydra.main(config_path=str(groups.CONF), config_name="config", version_base="1.3")
    def collect(config: DictConfig) -> None:
        composed.append(config)

    # Hydra would print and swallow errors itself; this is its way of handing them on.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Its parser wants all settings in one place, though people type `experiment=quickstart -m seed=0,1`.
    flags = [text for text in typed if text not in settings]
    sys.argv = [sys.argv[0], *overrides.readable(settings), *flags]
    try:
        collect()
    except SystemExit as end:  # Hydra's way to end after its help pages
        if end.code not in (None, 0):
            raise
    return composed[0] if composed else None


def _sweeps(args: argparse.Namespace) -> bool:
    template = any(text.startswith("sweep=") for text in args.overrides)
    return args.multirun or template or "hydra.mode=MULTIRUN" in args.overrides


def _parse(typed: list[str]) -> argparse.Namespace:
    """Hydra's own parser, with our messages."""
    parser = get_args_parser()
    known = [name for action in parser._actions for name in action.option_strings]
    for text in typed:
        name = text.partition("=")[0]
        if name.startswith("--") and name not in known:
            raise UserError(_unknown_flag(text, known))

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message[0].upper()}{message[1:]}. See python launch.py --help.")

    parser.error = refuse
    args = parser.parse_intermixed_args(typed)
    shown = [f"--{name}" for name in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(args, name)]
    if len(shown) > 1:
        raise UserError(f"{' and '.join(shown)} are both given; allowed: one of them.".replace("_", "-"))
    if args.resolve and not args.cfg:
        raise UserError("--resolve goes with --cfg only, such as --cfg job --resolve.")
    if args.experimental_rerun:
        raise UserError("--experimental-rerun needs files of Hydra that are not written here; give resume=RUN to go on.")
    return args


def _unknown_flag(text: str, known: list[str]) -> str:
    flag, _, value = text.partition("=")
    name = flag.lstrip("-").replace("-", "_")
    meant = name if name in keys.table() or name in groups.groups() else _meant(name)
    if meant:
        return f"{flag} is no option; settings are given without dashes: {meant}={value or 'VALUE'}."
    return f"{flag} is no option.{nearest(flag, known)} Allowed: {', '.join(name for name in known if name.startswith('--'))}."


def _meant(name: str) -> str:
    hint = nearest(name, groups.groups()) or keys.suggestion(name)
    return hint.split("'")[1] if hint else ""

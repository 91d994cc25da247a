"""The flags of the command line, such as ``-m`` and ``--cfg``: Hydra's parser with our messages."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from deit.compose import config_files, groups, keys
from deit.errors import UserError, nearest
from deit.installation import DISTRIBUTION, ROOT, program

SHELLS = ("bash", "zsh", "fish")


def completion() -> str:
    """The line that a person types into bash to complete keys and options with the Tab key."""
    return f'eval "$({program()} -sc install=bash)"'


def normal(typed: Sequence[str]) -> list[str]:
    """The arguments, with a bare ``--info`` as ``--info=defaults``; Hydra's own default also lists its plugins."""
    pages = next(action.choices for action in get_args_parser()._actions if "--info" in action.option_strings) or ()
    return [
        "--info=defaults" if text in ("-i", "--info") and after not in pages else text
        for text, after in itertools.zip_longest(typed, typed[1:])
    ]


def parse(typed: list[str]) -> argparse.Namespace:
    """The flags, and everything else as ``overrides``. Raises UserError."""
    parser = get_args_parser()
    if "--version" in typed:
        next(action for action in parser._actions if "--version" in action.option_strings).version = version()
    known = [name for action in parser._actions for name in action.option_strings]
    for text in typed:
        name = text.partition("=")[0]
        if name.startswith("--") and name not in known:
            raise UserError(_unknown_flag(text, known))

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message[0].upper()}{message[1:]}. See {program()} --help.")

    parser.error = refuse
    args: argparse.Namespace = parser.parse_intermixed_args(typed)
    shown = [f"--{name}" for name in ("run", "multirun", "cfg", "info", "shell_completion") if getattr(args, name)]
    if len(shown) > 1:
        raise UserError(f"{' and '.join(shown)} are both given; allowed: one of them.".replace("_", "-"))
    if args.resolve and not args.cfg:
        raise UserError("--resolve goes with --cfg only, such as --cfg job --resolve.")
    if args.experimental_rerun:
        raise UserError("--experimental-rerun needs files of Hydra that are not written here; use resume=RUN.")
    if args.hydra_help and args.overrides:
        raise UserError("--hydra-help takes no other flags; --help GROUP lists the options and keys of a group.")
    if args.shell_completion:
        _check_completion(args.overrides)
    return args


def _check_completion(overrides: list[str]) -> None:
    if len(overrides) != 1 or not re.fullmatch(rf"(install|uninstall|query)=({'|'.join(SHELLS)})", overrides[0]):
        raise UserError(
            f"--shell-completion needs install=SHELL or uninstall=SHELL; SHELL is {', '.join(SHELLS)}. "
            f"In bash, type: {completion()}"
        )


def version() -> str:
    """The versions of the program and its libraries, without importing these."""
    from importlib import metadata

    import tomllib  # late, both: composing does not need them

    project = ROOT / "pyproject.toml"
    ours = tomllib.loads(groups.read(project))["project"]["version"] if project.is_file() else metadata.version(DISTRIBUTION)
    parts = []
    for name, package in (("MindSpore", "mindspore"), ("Hydra", "hydra-core"), ("MLflow", "mlflow"), ("NumPy", "numpy")):
        try:
            parts.append(f"{name} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{name} not installed")
    return f"{DISTRIBUTION} {ours} ({', '.join(parts)})"


def hydra_page() -> str:
    """Hydra's flags that have an effect here."""
    parser = get_args_parser()
    parser.prog, parser.usage = program(), f"{program()} [FLAGS] GROUP=OPTION ... KEY=VALUE ..."
    parser.description = "Hydra composes the configuration. Its flags that have an effect here:"
    for action in parser._actions:
        if action.dest == "experimental_rerun":  # rejected
            action.help = argparse.SUPPRESS
        elif action.dest == "shell_completion":
            action.help = f"Complete keys and options with the Tab key (install=SHELL, uninstall=SHELL): {completion()}"
        elif action.dest == "info":
            action.help = f"Where each value comes from, or one of {', '.join(action.choices or ())}"
    used = ", ".join(f"hydra.{name}" for name in config_files.USED_OF_HYDRA)
    return f"{parser.format_help()}\nHydra's own settings that have an effect: {used}. Show them: --cfg hydra\n"


def _unknown_flag(text: str, known: list[str]) -> str:
    flag, _, value = text.partition("=")
    name = flag.lstrip("-").replace("-", "_")
    meant = name if name in keys.table() or name in groups.groups() else _meant(name)
    if meant:
        return f"{flag} is not a flag; settings are given without dashes: {meant}={value or 'VALUE'}."
    return f"{flag} is not a flag.{nearest(flag, known)} Allowed: {', '.join(name for name in known if name.startswith('--'))}."


def _meant(name: str) -> str:
    hint = nearest(name, groups.groups()) or keys.suggestion(name)
    return hint.split("'")[1] if hint else ""

"""``task=convert_config``: a YAML configuration of the ModelZoo's DeiT or of MindCV as an experiment of this program.

It starts no worker, needs no MindSpore and creates no run directory. Every key of the input is accounted for: translated,
without a counterpart, or refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deit.commands.table import composed_of
from deit.commands.task import Task
from deit.compose import groups
from deit.compose.hydra_errors import ERRORS, translate
from deit.compose.unused_keys import Unused
from deit.config import safe_yaml
from deit.config.addresses import expanded
from deit.config.schema import RunConfig
from deit.config.tasks import ConvertConfigTask
from deit.console import console, titled
from deit.errors import UserError
from deit.files import whole_file
from deit.installation import IS_WHEEL, program
from deit.migration.translation import Translation
from deit.migration.which_program import translate as translated
from deit.runs.directory import shown
from deit.runs.task_output import new_file, writing

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an option, as the command line spells it
EXPERIMENTS = groups.CONF / "experiment"


class ConvertConfig(Task[ConvertConfigTask]):
    is_trial = False
    takes = ()
    instead = "it reads only task.input."
    obeys = ()

    def unused(self, found: Unused) -> None:
        found.with_task("name", "seed", "runs_dir", "weights_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        _read(self.of(config))
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        console().print(f"would write {task.output} from {task.input}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Write the experiment and print what was translated. Returns the exit code, 0.

        Raises UserError, before anything is written, if the input is not such a file or the experiment would be refused.
        """
        task = self.of(config)
        output, found = _read(task)
        with writing(output), whole_file(output) as file:
            file.write(experiment(found, output.stem, Path(task.input).name).encode())
        _report(found, output)
        return 0


def _read(task: ConvertConfigTask) -> tuple[Path, Translation]:
    output, source = new_file(task.output, [".yaml"]), expanded(task.input)
    if not NAME.fullmatch(output.stem):
        raise UserError(
            f"task.output is {task.output!r}; allowed in its name: letters, digits, _, - and ., for experiment=NAME."
        )
    try:
        found = translated(safe_yaml.load(source))
    except FileNotFoundError:
        raise UserError(f"task.input is {task.input!r}, which does not exist.") from None
    except UserError as error:
        text = str(error)
        raise UserError(f"task.input={task.input}: {text.removeprefix(f'{source}: ')}") from None
    _check(found, task.input)
    return output, found


def _check(found: Translation, source: str) -> None:
    """Compose the experiment, as a training would. Raises UserError with the key and its origin if that is refused."""
    typed = [f"{group}={option}" for group, option in found.groups.items()]
    typed += [f"{key}={_typed(value)}" for key, value in found.values.items()]
    try:
        composed_of(typed)
    except (*ERRORS, UserError) as error:
        text = str(error if isinstance(error, UserError) else translate(error, typed))
        keys = [f"{key} is from {found.origins[key]}" for key in found.values if f"{key} " in text]
        raise UserError("\n".join([f"task.input={source}: {text}", *(f"Here {key}." for key in keys)])) from None


def _typed(value: Any) -> str:
    """A value in the grammar of the command line."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def experiment(found: Translation, name: str, source: str) -> str:
    """The text of the experiment's file."""
    head = ["# @package _global_", f"# Translated from {_line(source)} of {found.program}."]
    for title, lines in _lists(found):
        head += ["#", f"# {title}:", *(f"#   {_line(line)}" for line in lines)]
    defaults: list[Any] = [{f"override /{group}": option} for group, option in found.groups.items()]
    nested: dict[str, Any] = {}
    for key, value in found.values.items():
        group, _, leaf = key.rpartition(".")
        (nested.setdefault(group, {}) if group else nested)[leaf] = value
    body = [{"defaults": defaults}, {"name": name, **nested}]
    return "\n".join([*head, *(yaml.safe_dump(part, sort_keys=False, allow_unicode=True) for part in body)])


def _lists(found: Translation) -> Iterator[tuple[str, list[str]]]:
    if found.refused:
        yield "Not translated, decide yourself", [f"{key}: {why}" for key, why in found.refused.items()]
    if found.without:
        yield "Keys without a counterpart", [f"{key}: {why}" for key, why in found.without.items()]


def _line(text: str) -> str:
    """One line of a comment."""
    return " ".join(text.split())


def _report(found: Translation, output: Path) -> None:
    count = len(found.groups) + len(found.values)
    console().print(f"{shown(output)}: {count} keys and options from {found.program}, composed and checked")
    for title, lines in _lists(found):
        console().print(titled(title))
        for line in lines:
            console().print(f"  {_line(line)}")
    console().print(f"{_place(output)} experiment={output.stem}")


def _place(output: Path) -> str:
    """How ``experiment=NAME`` finds the file."""
    folder = output.absolute().parent
    if folder == EXPERIMENTS:
        return f"train: {program()}"
    if folder.name == EXPERIMENTS.name:
        return f"train: {program()} --config-dir {shlex.quote(str(shown(folder.parent)))}"
    if IS_WHEEL:  # whose files an update replaces
        return f"copy it to FOLDER/{EXPERIMENTS.name}, then train: {program()} --config-dir FOLDER"
    return f"copy it to {shown(EXPERIMENTS)}, then train: {program()}"


TASK = ConvertConfig()

"""From the overrides of each trial to its checked configuration: all of them before the first trial starts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from deit.compose import keys, overrides
from deit.compose.hydra_errors import ERRORS, translate
from deit.config.addresses import is_remote
from deit.config.schema import RunConfig, SweepConfig
from deit.errors import UserError
from deit.progress_bar import progress_bar
from deit.runs.trial_record import identity
from deit.secrets import redact
from deit.text import listed


@dataclass(frozen=True)
class Draft:
    """A checked trial that is not written anywhere yet."""

    number: int
    overrides: list[str]  # as typed, without Hydra's own
    config: RunConfig
    ignored: list[str]  # messages about typed keys that this trial does not use
    unused: Collection[str] = ()  # all the keys that it does not use

    def __str__(self) -> str:
        return f"trial {self.number} ({' '.join(self.overrides)})"


class Tasks(Protocol):
    """The functions that check a configuration: ``deit.commands.table``."""

    def configured(self, composed: DictConfig, typed: Sequence[Override]) -> RunConfig: ...

    def unused(self, config: RunConfig, typed: Sequence[Override]) -> list[str]: ...

    def unused_keys_of(self, config: RunConfig) -> Collection[str]: ...


class Composer:
    """Composes, freezes and checks trials of one sweep."""

    def __init__(self, loader: ConfigLoader, config: DictConfig, tasks: Tasks, look: Callable[[RunConfig], RunConfig]) -> None:
        """``look`` fills in what depends on the machine of the trials, and raises UserError for what it lacks."""
        self._loader, self._config, self._tasks, self._look = loader, config, tasks, look
        self._composed: dict[tuple[str, ...], DictConfig | None] = {}  # by all overrides except those of single keys

    def drafts(self, trials: Sequence[Sequence[str]], first: int = 0) -> list[Draft]:
        """All trials of a sweep. Raises UserError with the problems of all of them."""
        drafts: list[Draft] = []
        problems: dict[str, list[str]] = {}  # message -> the trials that have it
        with progress_bar("composing trials", len(trials)) as bar:
            for number, texts in enumerate(trials, start=first):
                try:
                    drafts.append(self.draft(number, texts))
                except UserError as error:
                    problems.setdefault(str(error), []).append(f"trial {number} ({' '.join(_own(texts))})")
                bar.advance(1)
        if problems:
            raise UserError("\n".join(f"{listed(names, 2)}: {message}" for message, names in problems.items()))
        check_ignored(drafts)
        settings_of(drafts)
        _one_store(drafts)
        known: dict[str, Draft] = {}
        for draft in drafts:
            other = known.setdefault(identity(draft.config), draft)
            if other is not draft:
                raise UserError(f"{other} and {draft} are the same configuration; remove one.")
        return drafts

    def draft(self, number: int, texts: Sequence[str]) -> Draft:
        """One trial, composed and checked. Raises UserError."""
        typed = _own(texts)
        try:
            given = overrides.check(typed, sweeping=False)
            config = self._tasks.configured(self._compose(number, texts, given), given)
        except ERRORS as error:
            raise translate(error, typed) from error
        launcher = self._config.hydra.runtime.choices["hydra/launcher"]
        if is_remote(config.runs_dir) and launcher != "cards":
            raise UserError(
                f"runs_dir={config.runs_dir} is in a store, but trials of hydra/launcher={launcher} run on other machines, "
                "which do not share its copy on this one; allowed: hydra/launcher=cards, or a shared folder as runs_dir."
            )
        return Draft(
            number,
            [redact(text) for text in typed],
            config,
            self._tasks.unused(config, given),
            self._tasks.unused_keys_of(config),
        )

    def looked_at(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The trials as they will run: `last` as a teacher must not become the trial before it.

        Raises UserError if one lacks cards, data, weights or a teacher.
        """
        looked = []
        with progress_bar("checking trials", len(drafts)) as bar:
            for draft in drafts:
                try:
                    looked.append(dataclasses.replace(draft, config=self._look(draft.config)))
                except UserError as error:
                    raise UserError(f"{draft}: {error}") from error
                bar.advance(1)
        return looked

    def _compose(self, number: int, texts: Sequence[str], given: Sequence[Override]) -> DictConfig:
        """Hydra's composition of ``texts``; those that are not Hydra's own are ``given``, parsed.

        Hydra sets single keys last, so trials that differ only in these share one composition of the files, which takes a
        hundred times as long, unless a value refers to Hydra's own settings, such as ``${hydra:job.num}``.
        """
        values = [override for override in given if override.key_or_group in keys.table()]
        of_values = {override.input_line for override in values}
        shared = tuple(text for text in texts if text not in of_values)
        if shared not in self._composed:
            found = self._by_hydra(number, shared)
            self._composed[shared] = None if "${hydra:" in OmegaConf.to_yaml(found) else found
        composed = copy.deepcopy(self._composed[shared])
        if composed is None or any("${hydra:" in text for text in texts):
            return self._by_hydra(number, texts)
        ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        return composed

    def _by_hydra(self, number: int, texts: Sequence[str]) -> DictConfig:
        composed: DictConfig = self._loader.load_sweep_config(copy.deepcopy(self._config), overrides.readable(texts))
        for part in ("launcher", "sweeper"):
            ours, its = self._config.hydra[part], composed.hydra[part]
            if OmegaConf.to_container(ours) != OmegaConf.to_container(its):
                raise UserError(
                    f"The option has its own hydra.{part} settings, which a sweep over it would ignore; run it alone."
                )
        with open_dict(composed):
            composed.hydra.job.num = composed.hydra.job.id = number
            HydraConfig.instance().set_config(composed)  # for `${hydra:...}` in a value
            del composed["hydra"]
        return composed


def settings_of(drafts: Sequence[Draft]) -> SweepConfig:
    """The settings of the sweep, which must be equal in all trials. Raises UserError."""
    settings = [dataclasses.replace(draft.config.sweep, case=None) for draft in drafts]
    for draft, other in zip(drafts, settings, strict=True):
        for name, value in vars(settings[0]).items():
            if getattr(other, name) != value:
                raise UserError(
                    f"sweep.{name} is {value} in {drafts[0]} and {getattr(other, name)} in {draft}, but it is a setting of the "
                    "whole sweep; give one value."
                )
    return settings[0]


def _one_store(drafts: Sequence[Draft]) -> None:
    """Check that all runs of a sweep in a store are next to its own directory. Raises UserError."""
    first = drafts[0].config.runs_dir
    for draft in drafts:
        if draft.config.runs_dir != first and (is_remote(first) or is_remote(draft.config.runs_dir)):
            raise UserError(
                f"runs_dir is {first} in {drafts[0]} and {draft.config.runs_dir} in {draft}, but a sweep in a store belongs in "
                "one place; give one value."
            )


def check_ignored(drafts: Sequence[Draft]) -> None:
    """Raise UserError for keys that no trial uses: a value of a sweep may make a key unused that another value needs."""
    if ignored := set.intersection(*(set(draft.ignored) for draft in drafts)):
        raise UserError("\n".join(f"In every trial: {message}" for message in sorted(ignored)))


def _own(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if not text.startswith("hydra")]

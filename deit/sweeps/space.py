"""The space of a search: Hydra's sweep syntax as dimensions, and their values as override texts.

    optim=adamw,sgd  choice(...)  glob(...)   one of these, unordered
    range(2,12,2)                             evenly spaced numbers without the end
    interval(1e-5,1e-3)                       any number between
    int(interval(1,100))                      any whole number between
    tag(log, interval(1e-5,1e-3))             the same, uniform in the logarithm

Everything else is the same in all trials. Hydra reads the text of a value as exactly that value.
"""

from __future__ import annotations

import itertools
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from deit.compose import groups, keys
from deit.errors import UserError
from deit.runs.trial_record import CIRCUMSTANCES

if TYPE_CHECKING:  # the package is optional, and a grid does not need it
    import optuna

Checked = TypeVar("Checked")
Value = str | int | float
TRIES = 8  # combinations in which a value is tried before it is rejected


class Dimension(ABC):
    """A key that is searched over."""

    key: str

    @abstractmethod
    def suggest(self, asked: optuna.Trial) -> Value:
        """The value of a proposal of Optuna."""

    @abstractmethod
    def ends(self) -> Sequence[Value]:
        """The values to check: each of a choice, the ends of a range."""

    def text(self, value: Any) -> str:
        """The text after ``key=`` that Hydra reads as a value from ``suggest`` or ``values``."""
        return str(value)

    def values(self) -> Sequence[Value] | None:
        """All values in order; None if they are infinite."""
        return None


def _number(asked: optuna.Trial, key: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Value:
    """A proposed number; a whole one if ends and step are."""
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
        return asked.suggest_int(key, low, high, step=1 if step is None else step, log=log)
    return asked.suggest_float(key, low, high, step=step, log=log)


@dataclass(frozen=True)
class Choice(Dimension):
    """Unordered values, kept as Hydra writes them, so that lists and quoted text are preserved."""

    key: str
    texts: tuple[str, ...]

    def suggest(self, asked: optuna.Trial) -> Value:
        return asked.suggest_categorical(self.key, self.texts)

    def ends(self) -> Sequence[Value]:
        return self.texts

    values = ends


@dataclass(frozen=True)
class Range(Dimension):
    """Evenly spaced numbers, including both ends."""

    key: str
    low: int | float
    step: int | float
    count: int

    def suggest(self, asked: optuna.Trial) -> Value:
        return _number(asked, self.key, self.ends()[0], self.ends()[-1], step=self.step)

    def text(self, value: Any) -> str:
        return repr(self._at(round((value - self.low) / self.step)))

    def ends(self) -> Sequence[int | float]:
        return [self._at(0), self._at(self.count - 1)][: self.count]

    def values(self) -> Sequence[int | float]:
        return [self._at(i) for i in range(self.count)]

    def _at(self, i: int) -> int | float:
        if isinstance(self.low, int) and isinstance(self.step, int):
            return self.low + i * self.step
        return float(Decimal(repr(self.low)) + i * Decimal(repr(self.step)))  # 0.3, not 0.30000000000000004


@dataclass(frozen=True)
class Interval(Dimension):
    """Every number between two ends, inclusive; whole numbers if the ends are."""

    key: str
    low: int | float
    high: int | float
    log: bool

    def suggest(self, asked: optuna.Trial) -> Value:
        return _number(asked, self.key, self.low, self.high, log=self.log)

    def ends(self) -> Sequence[Value]:
        return [self.low, self.high]


@dataclass(frozen=True)
class Space:
    fixed: list[str]  # overrides of all trials, as typed
    dimensions: dict[str, Dimension]  # by key
    typed: dict[str, str]  # the same as typed, without the key

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of one trial."""
        return self.fixed + [f"{key}={text}" for key, text in self.swept(values).items()]

    def swept(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The overrides that distinguish a trial, as key and text."""
        return {key: dimension.text(values[key]) for key, dimension in self.dimensions.items()}

    def combinations(self) -> Iterator[dict[str, Value]]:
        """Every combination, the last dimension fastest. Raises UserError if an interval makes them infinite."""
        found = {key: dimension.values() for key, dimension in self.dimensions.items()}
        endless = [key for key, values in found.items() if values is None]
        if endless:
            raise UserError(
                f"hydra/sweeper/sampler=grid: {endless[0]}=interval(...) has no single values; "
                "allowed: A,B,C or choice(...) or range(...), or another sampler."
            )
        for values in itertools.product(*(values for values in found.values() if values is not None)):
            yield dict(zip(self.dimensions, values, strict=True))

    def probe(self, check: Callable[[list[str]], Checked]) -> list[Checked]:
        """Call ``check``, which raises UserError, on overrides until each value of a choice and each end has passed once.

        A value is tried in a few combinations: one that breaks a rule may be allowed in another. Returns the results of
        ``check``. Raises UserError with the problems of values that never pass.
        """
        ends = {key: dimension.ends() for key, dimension in self.dimensions.items()}
        good = {key: values[0] for key, values in ends.items()}
        passed: set[tuple[str, Value]] = set()
        problems: list[str] = []
        found: list[Checked] = []
        for key, values in ends.items():
            for value in values:
                if (key, value) in passed:
                    continue
                messages: list[list[str]] = []
                for combination in itertools.islice(_around(good | {key: value}, key, ends), TRIES):
                    try:
                        found.append(check(self.overrides(combination)))
                    except UserError as error:
                        messages.append(str(error).splitlines())
                    else:
                        good = combination
                        passed |= set(combination.items())
                        break
                else:
                    always = [line for line in messages[0] if all(line in message for message in messages)]
                    problems += [line for line in always or messages[0] if line not in problems]
            if not found:  # no value of this key passes: other keys would only repeat the problem
                raise UserError("\n".join(problems))
        if problems:
            raise UserError("\n".join(problems))
        return found


def _around(combination: dict[str, Value], key: str, ends: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    """The combination, then with another value of one other dimension."""
    yield combination
    for other, values in ends.items():
        if other != key:
            yield from (combination | {other: value} for value in values if value != combination[other])


def parse(overrides: Sequence[Override]) -> Space:
    """The space of parsed overrides; of two for the same key the later one counts.

    They must be parsed with Hydra's loader, which knows the options of a ``glob(...)``. Raises UserError for unsupported ones.
    """
    given = {override.get_key_element(): override for override in overrides}
    swept = {key: _dimension(override) for key, override in given.items() if override.is_sweep_override()}
    if not swept:
        raise UserError(
            "Nothing to search: no key has more than one value. Give for example "
            "'optim.base_lr=tag(log, interval(1e-4, 1e-2))' or model=deit_tiny,deit_small."
        )
    texts = {key: str(override.input_line) for key, override in given.items()}
    typed = {key: texts[key].partition("=")[2] for key in swept}
    return Space([text for key, text in texts.items() if key not in swept], swept, typed)


def _dimension(override: Override) -> Dimension:
    value, text, key = override.value(), str(override.input_line), override.get_key_element()
    if key.partition(".")[0] in CIRCUMSTANCES:
        raise UserError(f"{text}: {key} cannot change a result; give it one value.")
    tags: set[str] = getattr(value, "tags", set())
    allowed = {"log"} if isinstance(value, IntervalSweep) else set()
    if tags - allowed:
        unknown = ", ".join(sorted(tags - allowed))
        raise UserError(f"{text}: the tag {unknown} is not supported here; allowed: log, for an interval.")
    if getattr(value, "shuffle", False):
        raise UserError(f"{text}: shuffle is for a grid; in a search the sampler decides the order.")
    if not isinstance(value, (IntervalSweep, RangeSweep)):
        return Choice(key, tuple(choices(override)))
    if key in groups.groups():
        raise UserError(f"{text}: {key} is a group of options, not a number; allowed: {', '.join(groups.groups()[key])}.")
    return _range(override, value) if isinstance(value, RangeSweep) else _interval(override, value)


def choices(override: Override) -> list[str]:
    """The values of a discrete sweep as texts. Raises UserError if there is none, or one is given twice."""
    values = list(override.sweep_string_iterator())
    if not values:
        allowed = ", ".join(groups.groups().get(override.get_key_element(), {}))
        raise UserError(
            f"{override.input_line}: matches nothing, so there is no trial. Allowed: {allowed or 'at least one value'}."
        )
    double = next((value for value in values if values.count(value) > 1), None)
    if double is not None:
        raise UserError(f"{override.input_line}: {override.get_key_element()}={double} is given twice; name each value once.")
    return values


def _range(override: Override, value: RangeSweep) -> Range:
    start, step = value.start, value.step
    texts = choices(override) if step else []
    if start is None or not texts:
        raise UserError(
            f"{override.input_line}: a range goes from a start by a step that is not 0; give range(START, STOP, STEP)."
        )
    found = Range(override.get_key_element(), start, step, len(texts))
    # range(10, 1, -3) has the numbers of range(1, 11, 3)
    return found if step > 0 else replace(found, low=found.values()[-1], step=-step)


def _interval(override: Override, value: IntervalSweep) -> Interval:
    key, low, high = override.get_key_element(), value.start, value.end
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not low < high:
        raise UserError(f"{override.input_line}: an interval begins with its lower number; give interval(LOW, HIGH).")
    log = "log" in value.tags
    if log and low <= 0:
        raise UserError(f"{override.input_line}: the logarithm needs numbers above 0, but the interval begins at {low}.")
    hint = keys.table()[key].hint
    if isinstance(low, float) and (hint is int or int in typing.get_args(hint)):
        raise UserError(f"{override.input_line}: {key} takes whole numbers; give int(interval({low:g}, {high:g})).")
    return Interval(key, low, high, log)

"""The search space: values that Hydra reads back unchanged, and mistakes in it."""

from __future__ import annotations

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from deit.errors import UserError
from deit.sweeps import space


def parsed(*texts: str) -> space.Space:
    return space.parse(OverridesParser.create().parse_overrides(list(texts)))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optim=adamw,sgd", ["adamw", "sgd"]),
        ("optim.base_lr=1e-3,0.30000000000000004", [1e-3, 0.1 + 0.2]),
        ("optim.betas=choice([0.9,0.999],[0.9,0.95])", [[0.9, 0.999], [0.9, 0.95]]),
        ("name='a, b',\"it's\",c", ["a, b", "it's", "c"]),
        ("optim.clip_grad=null,1.0", [None, 1.0]),
        ("ema.enabled=true,false", [True, False]),
        ("model.depth=range(2,12,3)", [2, 5, 8, 11]),
        ("model.depth=range(12,2,-3)", [3, 6, 9, 12]),
        ("ema.decay=range(0.1,0.5,0.1)", [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_hydra_reads_discrete_values_back_unchanged(text: str, values: list[object]) -> None:
    found = parsed(text)
    written = [found.overrides(combination) for combination in found.combinations()]
    read = [OverridesParser.create().parse_override(*overrides).value() for overrides in written]
    assert read == values and list(map(type, read)) == list(map(type, values))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    (dimension,) = found.dimensions.values()
    drawn = {dimension.text(dimension.suggest(study.ask())) for _ in range(40)}
    assert drawn == {overrides[0].partition("=")[2] for overrides in written}


@pytest.mark.parametrize(
    ("text", "kind", "log"),
    [
        ("optim.base_lr=interval(1e-7,1e-3)", float, False),
        ("optim.base_lr=tag(log,interval(1e-7,1e-3))", float, True),
        ("model.depth=int(interval(1,100))", int, False),
        ("model.depth=tag(log,int(interval(1,100)))", int, True),
    ],
)
def test_hydra_reads_interval_values_back_bit_for_bit(text: str, kind: type, log: bool) -> None:
    found, study = parsed("seed=3", text), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        asked = study.ask()
        values = {key: dimension.suggest(asked) for key, dimension in found.dimensions.items()}
        fixed, swept = found.overrides(values)
        read = OverridesParser.create().parse_override(swept).value()
        assert fixed == "seed=3" and [read] == list(values.values()) and type(read) is kind
    (distribution,) = study.trials[0].distributions.values()
    assert distribution.log is log


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed=1", "Nothing to search"),
        ("optim.base_lr=tag(logarithmic,interval(1,2))", "the tag logarithmic is not supported here; allowed: log"),
        ("optim.base_lr=tag(log,choice(1e-3,1e-2))", "the tag log is not supported here"),
        ("optim.base_lr=tag(log,interval(0,1))", "numbers above 0"),
        ("optim.base_lr=interval(2,1)", "begins with its lower number"),
        ("model.depth=interval(2,12)", "give int(interval(2, 12))"),
        ("model=interval(1,2)", "model is a group of options"),
        ("seed=shuffle(1,2)", "the sampler decides"),
        ("seed=1,2,1", "1 is given twice"),
        ("model.depth=range(3,3)", "matches nothing"),
        ("sweep.retries=0,1", "cannot change a result"),
    ],
)
def test_invalid_search_space_is_rejected(text: str, said: str) -> None:
    with pytest.raises(UserError, match="(?s)" + said.replace("(", r"\(").replace(")", r"\)")):
        parsed(text)


def test_probe_rejects_a_value_that_fails_in_every_combination() -> None:
    def check(overrides: list[str]) -> list[str]:
        given = dict(text.split("=") for text in overrides)
        if int(given["model.embed_dim"]) % int(given["model.num_heads"]):
            raise UserError("not a multiple")
        if "optim" in given and given["optim"] == "adan":
            raise UserError("optim is 'adan'")
        return overrides

    numbers = ("model.embed_dim=128,192", "model.num_heads=2,3")
    assert ["model.embed_dim=192", "model.num_heads=3"] in parsed(*numbers).probe(check)
    with pytest.raises(UserError, match=r"^optim is 'adan'$"):
        parsed(*numbers, "optim=adamw,adan").probe(check)

"""The value of a text key is taken literally, wherever it is written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from composition import freeze
from hydra.core.override_parser.overrides_parser import OverridesParser

from deit.compose import config_files, groups, overrides, text_keys
from deit.config.tasks import PredictTask
from deit.errors import UserError
from deit.text import line_to_type

# Each is something else than text to YAML 1.1, YAML 1.2 or Hydra.
GUESSED = [
    "2024_01_02",
    "1e3",
    "1e-3",
    "017",
    "0x1f",
    "0o17",
    "0b1",
    "12:30:45",
    "1.50",
    ".5",
    "1_0.5",
    "+7",
    "-0",
    "inf",
    "nan",
]
WORDS = ["true", "False", "on", "off", "yes", "No", "y", "2024-01-02", "20261123_044928_1e2345", "1__0", "--", "=", "!x"]
ODD = ["图片", "~dd", "exp#3", "lr=1e-3", "a;b", "a&b", "a<b>", "né", "a^b"]


@pytest.mark.parametrize("text", GUESSED + WORDS + ODD)
def test_typed_text_is_unchanged(text: str) -> None:
    (parsed,) = overrides.check([f"tracking.run_name={text}"], sweeping=False)
    assert parsed.value() == text
    # What Hydra gets, it reads the same way.
    (again,) = OverridesParser.create().parse_overrides(overrides.readable([f"tracking.run_name={text}"]))
    assert again.value() == text


def test_typed_text_is_frozen_unchanged() -> None:
    config = freeze("name=2024_01_02", "tracking.run_name=1e3", "data.root=图片", "seed=1_0")
    assert (config.name, config.tracking.run_name, config.data.root, config.seed) == ("2024_01_02", "1e3", "图片", 10)


def test_text_in_a_file_is_unchanged(tmp_path: Path) -> None:
    texts = [text for text in GUESSED + WORDS + ODD if text not in ("=", "!x")]
    for text in texts:
        (tmp_path / "mine.yaml").write_text(
            f"# @package _global_\nname: {text}\nseed: 0x10\ntask:\n  models: [{text}, {text}]\nrun: null\nresume: ~\n"
            f"hydra:\n  sweeper:\n    params:\n      seed: {text}\n"
        )
        found = config_files.FileConfigSource("test", f"file://{tmp_path}").load_config("experiment/../mine").config
        assert (found.name, found.seed, found.task.models) == (text, 16, [text, text])
        assert (found.run, found.resume, found.hydra.sweeper.params.seed) == (None, None, text)


def test_group_files_and_option_names_are_unchanged(conf: Path) -> None:
    (conf / "data" / "2024_01.yaml").write_text("defaults:\n  - digits\n  - _self_\n\nname: 2024_01\nnum_classes: 1_0\n")
    (conf / "experiment" / "1e3.yaml").write_text("# @package _global_\ndefaults:\n  - override /data: 2024_01\n")
    for typed in (["experiment=1e3"], ["data=2024_01"]):
        config = freeze(*typed, "model=deit_micro")
        assert (config.data.name, config.data.num_classes) == ("2024_01", 10)


def test_lists_of_texts_are_unchanged_and_null_stays_null() -> None:
    typed = ["task=predict", "task.model=x.onnx", "task.input=017", "tracking.run_name=null", "task.output=null"]
    config = freeze(*typed)
    assert isinstance(config.task, PredictTask)
    assert (config.task.input, config.task.output, config.tracking.run_name) == ("017", None, None)
    parsed = overrides.check(["task=compare", "task.models=[1_0, 图片,'a, b',true,x]"], sweeping=False)
    assert parsed[1].value() == ["1_0", "图片", "a, b", "true", "x"]


def test_sweep_values_are_unchanged() -> None:
    for text in ("name=1_0,2e3,x", "name=choice(1_0,2e3,x)"):
        (parsed,) = overrides.check([text], sweeping=True)
        values = [text_keys.typed(f"name={value}") for value in parsed.sweep_string_iterator()]
        assert values == ["name='1_0'", "name='2e3'", "name=x"]
        assert parsed.input_line == text
    (lists,) = overrides.check(["task.models=[1_0,x],['a, b',图片]"], sweeping=True)
    assert len(list(lists.sweep_iterator())) == 2
    (numbers,) = overrides.check(["seed=1_0,2"], sweeping=True)
    assert list(numbers.sweep_iterator()) == [10, 2]


@pytest.mark.parametrize("text", ["a(b", "it's", 'say "x"', "a, (b", "it's \\", "$(x"])
def test_unparsable_value_is_reported_with_the_line_to_type(text: str) -> None:
    with pytest.raises(UserError) as caught:
        overrides.check([f"tracking.run_name={text}"], sweeping=False)
    line = str(caught.value).partition("type: ")[2]
    (typed,) = shlex.split(line)
    (parsed,) = overrides.check([typed], sweeping=False)
    assert parsed.value() == text


def test_invalid_number_is_reported_with_the_expected_type() -> None:
    with pytest.raises(UserError, match=r"optim\.base_lr=1e-3#.*Expected: a number, above 0"):
        overrides.check(["optim.base_lr=1e-3#"], sweeping=False)


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-16", "UTF-16"), ("gb18030", "GB18030"), ("utf-8-sig", None)], ids=["utf-16", "gbk", "bom"]
)
def test_files_in_other_encodings_are_read_or_reported(encoding: str, named: str | None, conf: Path) -> None:
    text = "# @package _global_\n# 快速开始。\ndefaults:\n  - quickstart\n\ntracking:\n  run_name: 图片\n"
    (conf / "experiment" / "mine.yaml").write_text(text, encoding=encoding)
    if named is None:
        assert freeze("experiment=mine").tracking.run_name == "图片"
        assert groups.describe(conf / "experiment" / "mine.yaml") == "快速开始。"
        return
    with pytest.raises(UserError, match=rf"mine\.yaml.*not UTF-8 .*iconv -f {named} -t UTF-8"):
        freeze("experiment=mine")
    assert "UTF-8" in groups.describe(conf / "experiment" / "mine.yaml")


@pytest.mark.parametrize(
    "lines", ["hydra:\n  run:\n    dir: out\n", "hydra:\n  job:\n    name: x\n", "defaults:\n  - override /hydra/output: x\n"]
)
def test_file_with_unsupported_hydra_settings_is_rejected(lines: str, conf: Path) -> None:
    (conf / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{lines}")
    with pytest.raises(UserError, match=r"mine\.yaml: hydra.*has no effect"):
        freeze("experiment=mine")


def test_text_keys_are_those_of_the_schema() -> None:
    for path in ("name", "data.root", "distill.teacher", "task.models", "experiment", "runs_dir"):
        assert text_keys.is_text(path)
    for path in ("seed", "data.batch_size", "data.mean", "ema.enabled", "nothing"):
        assert not text_keys.is_text(path)


@pytest.mark.parametrize("key", ["resume", "tracking.run_name", "run", "sweep.resume", "runs_dir"])
@pytest.mark.parametrize(
    "text",
    [
        "runs/a/1",
        "a [x]/b",
        "a  b",
        "[x]",
        "a,b",
        "it's \\",
        "a 'b' \"c\"",
        "\\'",
        "# 1",
        "{a:1}",
        "x=y",
        "null",
        "1_0",
        "图片",
        " a",
        "~/a",
    ],
)
def test_printed_command_can_be_typed_again(key: str, text: str) -> None:
    (typed,) = shlex.split(line_to_type(key, text))
    (parsed,) = overrides.check([typed], sweeping=False)
    assert parsed.value() == text

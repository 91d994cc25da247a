"""Composition: every option is usable, the schema is enforced, the control side imports nothing heavy."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Outcome
from composition import freeze

from deit.commands.train import TASK
from deit.compose import groups, keys, limits
from deit.config import frozen
from deit.errors import UserError

# What an option needs beside itself to be a complete recipe.
NEEDS = {
    "task=convert": ["checkpoint=x.safetensors", "task.output=y.safetensors"],
    "task=convert_config": ["task.input=theirs.yaml", "task.output=ours.yaml"],
    "task=export": ["checkpoint=x.safetensors"],
    "task=pack": ["task.output=packed"],
    "task=report": ["sweep.dir=last"],
    "task=register": ["task.model=exported", "task.registered_model_name=name"],
    "task=predict": ["task.model=x.onnx", "task.input=photos"],
    "task=explain": ["task.model=x.safetensors", "task.input=photos"],
    "task=preprocess": ["task.input=photos", "task.output=ready"],
    "task=postprocess": ["task.input=ready", "task.results=results"],
    "task=compare": ["task.models=[x.onnx,y.onnx]", "task.input=photos"],
    "task=evaluate": ["checkpoint=x.safetensors"],
    "data=imagefolder": ["data.root=/images"],
    "distill=soft": ["distill.teacher=runs/t", "model=deit_tiny_distilled"],
    "distill=hard": ["distill.teacher=runs/t", "model=deit_tiny_distilled"],
    "experiment=linear_probe": ["data.root=/images"],
    "experiment=digits_distilled": ["distill.teacher=runs/t"],
    "experiment=finetune": ["data.root=/images"],
    "model=deit_tiny_distilled": ["distill=hard", "distill.teacher=runs/t"],
    "model=deit_small_distilled": ["distill=hard", "distill.teacher=runs/t"],
    "model=deit_base_distilled": ["distill=hard", "distill.teacher=runs/t"],
    "model=deit_base_distilled_384": ["distill=hard", "distill.teacher=runs/t"],
}
CHOICES = [f"{group}={option}" for group, found in groups.groups().items() for option in found]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_option_of_every_group_is_a_valid_recipe(choice: str) -> None:
    config = freeze(choice, *NEEDS.get(choice, []))
    group, _, option = choice.partition("=")
    if group in ("model", "task", "optim"):
        assert getattr(config, group).name == option


@pytest.mark.parametrize("path", [path for found in groups.groups().values() for path in found.values()], ids=groups.shown)
def test_every_file_has_a_description(path: Path) -> None:
    assert groups.describe(path).endswith((".", "?")) or ":" in groups.describe(path)


def test_frozen_configuration_is_read_back_equal(tmp_path: Path) -> None:
    config = freeze("experiment=quickstart", "hardware.card_ids=[3]", "optim.clip_grad=null")
    frozen.save(config, tmp_path / "config.yaml")
    assert frozen.load(tmp_path / "config.yaml") == config


def test_the_modelzoo_recipe_is_the_default_in_numbers() -> None:
    config = freeze("experiment=deit_small_modelzoo")
    assert (config.optim.base_lr, config.optim.weight_decay, config.optim.clip_grad) == (5e-4, 0.05, 5.0)
    assert (config.schedule.epochs, config.schedule.cooldown_epochs, config.schedule.warmup_epochs) == (300, 10, 5)
    assert (config.schedule.warmup_lr, config.schedule.min_lr, config.data.crop_pct) == (1e-6, 1e-6, 0.9)
    assert config.data.batch_size * config.hardware.cards == 1024
    assert (config.name, config.tracking.experiment) == ("deit_small_modelzoo", "imagenet")


def test_old_names_of_the_modelzoo_recipe_are_reported(command: Callable[..., Outcome]) -> None:
    assert freeze("experiment=deit_small_seed") == freeze("experiment=deit_small_modelzoo")
    assert freeze("ema=seed").ema == freeze("ema=modelzoo").ema
    outcome = command("ema=seed", "--cfg", "job")
    assert outcome.code == 0 and outcome.err == "ema=seed: Old name of ema=modelzoo.\n"


def test_paper_recipe_differs_from_the_modelzoo_as_documented() -> None:
    config = freeze("experiment=deit_small_paper")
    assert config.optim.clip_grad is None
    assert (config.schedule.min_lr, config.schedule.cooldown_epochs) == (1e-5, 0)
    assert (config.augment.repeats, config.data.crop_pct) == (3, 0.875)
    assert config.ema.enabled and config.ema.decay == 0.99996


def test_problems_are_reported_together_and_limits_before_rules() -> None:
    with pytest.raises(UserError) as caught:
        freeze("seed=-1", "augment.ratio=[0.5]", "augment.scale=[0,1]", "optim.eps=nan", "model.num_heads=5")
    assert str(caught.value).splitlines() == [
        "augment.scale is [0.0, 1.0]; allowed: above 0, at most 1.",
        "augment.ratio is [0.5], but 2 values are expected.",
        "optim.eps is nan; allowed: above 0.",
        "seed is -1; allowed: at least 0, at most 9223372036854775807.",
    ]


def test_rules_are_checked_again_when_the_target_is_known() -> None:
    config = freeze("precision=bf16", "model.attention=flash")
    assert TASK.problems(config) == []
    config.hardware.target = "cpu"
    assert [problem.split()[0] for problem in TASK.problems(config)] == ["precision.dtype", "model.attention"]


def test_choices_and_limits_hold_at_their_edges() -> None:
    config = freeze("augment.hflip=1", "augment.mixup=0", "schedule.warmup_epochs=0", "optim.weight_decay=0")
    assert limits.problems(config) == []
    config.augment.hflip = 1.0000001
    config.optim.base_lr = 0.0
    config.data.interpolation = "nearest"
    assert limits.problems(config) == [
        "data.interpolation is 'nearest'; allowed: one of bicubic, bilinear.",
        "augment.hflip is 1.0000001; allowed: at least 0, at most 1.",
        "optim.base_lr is 0.0; allowed: above 0.",
    ]


def test_suggestions() -> None:
    expected = {
        "lr": "'optim.base_lr'",
        "epochs": "'schedule.epochs'",
        "optim.lrr": "'optim.base_lr'",
        "opt": "'optim'",
        "model.embeddim": "'model.embed_dim'",
        "schedule.batch_size": "'data.batch_size'",
        "experiment_name": "'tracking.experiment'",
        "qqq": "",
    }
    found = {key: keys.suggestion(key).removeprefix(" Did you mean ").removesuffix("?") for key in expected}
    assert found == expected


@pytest.mark.process
def test_composing_and_checking_import_nothing_heavy(tmp_path: Path) -> None:
    """Each would take seconds; how long composing takes, benchmarks/composing.py measures."""
    program = (
        "import sys; from deit.cli import main; codes = main(['--cfg', 'job']), main(['schedule.warmup_epochs=400']); "
        "heavy = {'mindspore', 'mlflow', 'cv2', 'matplotlib', 'torch', 'numpy'} & set(sys.modules); "
        "print(*codes, sorted(heavy), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stderr.startswith("schedule.warmup_epochs is 400") and ended.stderr.endswith("\n0 2 []\n")
    assert "base_lr: 0.0005" in ended.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "more", ["experiment=quickstart", "experiment=deit_small_paper", "debug=fast", "tracking=none", "data=cifar10"]
)
def test_example_of_local_settings_composes_with_everything(more: str, command, tmp_path_factory) -> None:
    text = (groups.CONF / "local" / "README.md").read_text()
    example = "".join(line[4:] for line in text.splitlines(keepends=True) if line.startswith("    "))
    folder = tmp_path_factory.mktemp("local")
    (folder / "local").mkdir()
    (folder / "local" / "default.yaml").write_text(example)
    outcome = command("--config-dir", str(folder), more, "dry_run=true", f"runs_dir={folder}/runs")
    # A dry run refuses what the start would: here only that this machine has neither the data nor the cards.
    absent = ("data.root: there is no", "hardware.target=ascend: there is no")
    assert outcome.code == 0 or outcome.err.startswith(absent), outcome.err


def test_path_may_start_with_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = freeze("experiment=quickstart", "runs_dir='~/runs'")
    assert config.runs_dir == f"{tmp_path}/runs"
    config = freeze("task=compare", "data=digits", "task.models=['~/a.mindir',b.onnx]", "task.input='~/images'")
    assert (config.task.models, config.task.input) == ([f"{tmp_path}/a.mindir", "b.onnx"], f"{tmp_path}/images")


def test_frozen_configuration_without_a_newer_key_is_read(tmp_path: Path) -> None:
    config = freeze("experiment=quickstart")
    values = frozen.to_dict(config)
    for node, name in keys_with_defaults():
        del (values[node] if node else values)[name]
    # Older runs showed what is below a transparent pixel; new ones show white.
    assert config.data.background == "white"
    assert frozen.from_dict(values) == dataclasses.replace(config, data=dataclasses.replace(config.data, background="none"))
    with pytest.raises(UserError, match=r"missing data\.workers"):
        frozen.from_dict({**values, "data": {k: v for k, v in values["data"].items() if k != "workers"}})


def keys_with_defaults() -> list[tuple[str, str]]:
    paths = [key.path.rpartition(".") for key in keys.table().values()]
    kinds = keys.node_types() | {"": type(freeze("experiment=quickstart"))}
    return [(node, name) for node, _, name in paths if name in frozen._defaults(kinds[node])]

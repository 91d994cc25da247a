"""Configurations of the ModelZoo and of MindCV, in the shape of their files, as experiments of this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from composition import freeze

from deit.commands.convert_config import TASK
from deit.config.schema import AdamWOptim, RunConfig, SgdOptim
from deit.errors import UserError
from deit.migration.which_program import translate

MODELZOO = """
arch: deit_small_patch16_224
data_url: ./data/imagenet
set: ImageNet
num_classes: 1000
mix_up: 0.7
cutmix: 0.9
auto_augment: rand-m7-mstd0.5-inc1
interpolation: bilinear
re_prob: 0.2
re_mode: pixel
re_count: 2
mixup_prob: 1.
switch_prob: 0.4
mixup_mode: batch
image_size: 224
crop_pct: 0.95
optimizer: adamw
base_lr: 4e-4
warmup_lr: 2e-6
min_lr: 0.000003
lr_scheduler: cosine_lr
warmup_length: 4
amp_level: O2
beta: [ 0.9, 0.98 ]
clip_global_norm_value: 3.
is_dynamic_loss_scale: False
loss_scale: 512
epochs: 200
cooldown_epochs: 6
label_smoothing: 0.2
weight_decay: 0.04
momentum: 0.9
batch_size: 96
drop_path_rate: 0.2
with_ema: True
ema_decay: 0.999
num_parallel_workers: 12
device_target: Ascend
device_num: 8
"""
GPU = """
model: deit_base_distilled_patch16_384
finetune: ''
data_path: /imagenet/
train_dir: train
val_dir: validation_preprocess
num_classes: 1000
input_size: 384
amp_level: O0
lr: 0.0004
min_lr: 1.0e-05
batch_size: 32
epochs: 30
model_ema: false
model_ema_decay: 0.9998
clip_grad: null
clip_grad_norm: 5.0
use_clip_grad_norm: false
bce_loss: true
momentum: 0.9
num_workers: 6
opt: adamw
opt_eps: 1.0e-08
unscale_lr: true
warmup_epochs: 5
warmup_lr: 1.0e-06
weight_decay: 1.0e-8
sched: cosine_lr
cooldown_epochs: 0
is_dynamic_loss_scale: 1
loss_scale: 1024
device_id: 3
device_num: 1
device_target: GPU
smoothing: 0.1
eval_crop_ratio: 1.0
aa: null
beta: [0.9, 0.999]
recount: 1
remode: pixel
reprob: 0.25
color_jitter: 0.3
cutmix: 1.0
mixup: 0.8
mixup_mode: batch
mixup_prob: 1.0
mixup_switch_prob: 0.5
interpolation: bicubic
distillation_alpha: 0.4
distillation_tau: 2.0
distillation_type: soft
teacher_model: regnety_160
teacher_path: ''
"""
MINDCV = """
mode: 0
distribute: True
num_parallel_workers: 8
val_interval: 2
dataset: 'imagenet'
data_dir: '/path/to/imagenet'
shuffle: True
batch_size: 256
image_resize: 224
scale: [0.1, 1.0]
ratio: [0.75, 1.333]
hflip: 0.4
vflip: 0.0
interpolation: 'bicubic'
auto_augment: 'randaug-m9-mstd0.5'
re_prob: 0.1
re_value: 'random'
cutmix: 1.0
cutmix_prob: 0.9
mixup: 0.8
mean: [127.5, 127.5, 127.5]
model: 'deit_tiny'
num_classes: 1000
epoch_size: 300
loss: 'CE'
label_smoothing: 0.1
scheduler: 'cosine_decay'
lr: 1.6e-3
min_lr: 1e-6
warmup_epochs: 30
decay_epochs: 250
warmup_factor: 0.01
opt: 'adamw'
weight_decay_filter: 'norm_and_bias'
weight_decay: 0.3
amp_level: 'O2'
loss_scale_type: 'fixed'
loss_scale: 1024
clip_grad: True
clip_value: 4.0
"""


def converted(text: str, folder: Path) -> RunConfig:
    """The configuration of ``experiment=theirs`` after the command has written that experiment."""
    options = folder / "experiment"
    options.mkdir()
    (folder / "their file.yaml").write_text(text)
    task = freeze("task=convert_config", f"task.input='{folder}/their file.yaml'", f"task.output={options}/theirs.yaml")
    assert TASK.run(TASK.prepare(task), []) == 0
    return freeze("experiment=theirs", f"hydra.searchpath=[file://{folder}]")


def value(config: RunConfig, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def test_modelzoo(tmp_path: Path) -> None:
    config = converted(MODELZOO, tmp_path)
    assert isinstance(config.optim, AdamWOptim)
    expected = {
        "name": "theirs",
        "model.name": "deit_small",
        "model.drop_path_rate": 0.2,
        "data.root": "./data/imagenet",
        "data.batch_size": 96,
        "data.workers": 12,
        "data.interpolation": "bilinear",
        "data.crop_pct": 0.95,
        "augment.mixup": 0.7,
        "augment.cutmix": 0.9,
        "augment.mixup_switch_prob": 0.4,
        "augment.recount": 2,
        "augment.auto_augment": "rand-m7-mstd0.5-inc1",
        "augment.smoothing": 0.2,
        "optim.base_lr": 4e-4,
        "optim.lr_base_size": 512,
        "optim.betas": [0.9, 0.98],
        "optim.clip_grad": 3.0,
        "optim.weight_decay": 0.04,
        "schedule.epochs": 200,
        "schedule.cooldown_epochs": 6,
        "schedule.warmup_epochs": 4,
        "schedule.warmup_lr": 2e-6,
        "schedule.min_lr": 3e-6,
        "ema.enabled": True,
        "ema.decay": 0.999,
        "precision.level": "O2",
        "precision.loss_scale": "static",
        "precision.loss_scale_init": 512,
        "hardware.target": "ascend",
        "hardware.cards": 8,
    }
    assert {key: value(config, key) for key in expected} == expected
    assert translate(yaml.safe_load(MODELZOO)).without == {"momentum": "the optimizer has none"}


def test_modelzoo_for_gpus(tmp_path: Path) -> None:
    config = converted(GPU, tmp_path)
    expected = {
        "model.name": "deit_base_distilled_384",
        "model.img_size": 384,
        "optim.base_lr": 4e-4,
        "optim.lr_base_size": None,
        "optim.clip_grad": None,
        "loss.name": "bce",
        "augment.auto_augment": None,
        "data.workers": 6,
        "distill.type": "soft",
        "distill.teacher": "regnety_160",
        "distill.alpha": 0.4,
        "distill.tau": 2.0,
        "hardware.target": "gpu",
        "hardware.cards": 1,
        "hardware.card_ids": [3],
        "precision.level": "O0",
        "precision.loss_scale": "none",
        "model.pretrained": None,
    }
    assert {key: value(config, key) for key in expected} == expected
    assert set(translate(yaml.safe_load(GPU)).refused) == {"val_dir"}


def test_mindcv_with_its_defaults(tmp_path: Path) -> None:
    config = converted(MINDCV, tmp_path)
    expected = {
        "model.name": "deit_tiny",
        "model.drop_path_rate": 0.0,
        "optim.base_lr": 1.6e-3,
        "optim.lr_base_size": None,
        "optim.eps": 1e-10,
        "optim.clip_grad": 4.0,
        "schedule.epochs": 280,
        "schedule.cooldown_epochs": 20,
        "schedule.warmup_lr": 1.6e-5,
        "schedule.granularity": "step",
        "schedule.eval_every": 2,
        "data.mean": [0.5, 0.5, 0.5],
        "augment.auto_augment": "rand-m9-mstd0.5",
        "augment.mixup_prob": 0.9,
        "augment.remode": "pixel",
        "augment.hflip": 0.4,
        "precision.loss_scale": "static",
        "precision.loss_scale_init": 1024,
        "seed": 42,
        "ema.enabled": False,
    }
    assert {key: value(config, key) for key in expected} == expected
    assert set(translate(yaml.safe_load(MINDCV)).refused) == {"distribute"}


@pytest.mark.parametrize(
    ("text", "change", "refused"),
    [
        (MODELZOO, {"optimizer": "rmsprop"}, "optimizer"),
        (MODELZOO, {"lr_scheduler": "step_lr"}, "lr_scheduler"),
        (MODELZOO, {"auto_augment": "autoaug"}, "auto_augment"),
        (MODELZOO, {"interpolation": "nearest"}, "interpolation"),
        (MINDCV, {"opt": "lion"}, "opt"),
        (MINDCV, {"decay_epochs": 290}, "decay_epochs"),
        (MINDCV, {"vflip": 0.5}, "vflip"),
        (MINDCV, {"pretrained": True}, "pretrained"),
        (MINDCV, {"layer_decay": 0.75}, "layer_decay"),
        (MINDCV, {"weight_decay_filter": "disable"}, "weight_decay_filter"),
        (MINDCV, {"loss_scale_type": "auto"}, "loss_scale_type"),
    ],
)
def test_keys_without_counterpart_are_not_guessed(text: str, change: dict[str, Any], refused: str) -> None:
    found = translate({**yaml.safe_load(text), **change})
    assert refused in found.refused and refused not in found.origins.values()


def test_every_key_is_accounted_for() -> None:
    found = translate({**yaml.safe_load(MODELZOO), "layer_scale": 1})
    assert found.without["layer_scale"] == "not known here"


def test_sgd_takes_the_momentum(tmp_path: Path) -> None:
    config = converted(MODELZOO.replace("adamw", "momentum").replace("momentum: 0.9", "momentum: 0.8"), tmp_path)
    assert isinstance(config.optim, SgdOptim) and config.optim.momentum == 0.8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODELZOO.replace("arch: deit_small_patch16_224", "arch: swin_tiny"), "arch is 'swin_tiny'; allowed: deit_tiny"),
        (MODELZOO.replace("base_lr: 4e-4", "base_lr: -1"), "Here optim.base_lr is from base_lr."),
        (MODELZOO.replace("base_lr: 4e-4", "base_lr: fast"), "base_lr is 'fast', but a number is expected."),
        (MODELZOO.replace("epochs: 200", "epochs: 2.5"), "epochs is 2.5, but a whole number is expected."),
        (MODELZOO.replace("./data/imagenet", "${oc.env:HOME}"), "data_url is '${oc.env:HOME}', but text without ${ is"),
        ("model: resnet50\nepochs: 90\n", "it has the keys model, epochs; allowed are configurations with all of the keys of"),
        ("- 1\n", "keys with values are expected."),
        ("a: &x 1\nb: *x\n", "not readable as YAML (aliases are not allowed)."),
    ],
)
def test_rejected_configuration_names_the_key_and_writes_nothing(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        converted(text, tmp_path)
    assert message in str(refused.value) and str(refused.value).startswith(f"task.input={tmp_path}/their file.yaml: ")
    assert list((tmp_path / "experiment").iterdir()) == []


def test_output_must_be_a_valid_experiment_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MODELZOO)
    task = freeze("task=convert_config", f"task.input={tmp_path}/a.yaml", f"task.output='{tmp_path}/my recipe.yaml'")
    with pytest.raises(UserError, match="allowed in its name: letters"):
        TASK.prepare(task)

"""Common mistakes: one message with the key, what was found and what is allowed; exit code 2; nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

pytestmark = pytest.mark.slow  # each composes a whole recipe: together a quarter of all unit tests

Command = Callable[..., object]

# Arguments, and words the message must have: the key, what was found, what is allowed.
TYPED = [
    ("lr=1", ["lr", "optim.base_lr"]),
    ("epochs=10", ["epochs", "'schedule.epochs'"]),
    ("optim.lrr=1", ["optim.lrr", "'optim.base_lr'", "weight_decay"]),
    ("modle=deit_tiny", ["modle", "'model'", "augment"]),
    ("opt=sgd", ["opt", "'optim'"]),
    ("model=deit_smal", ["model", "'deit_smal'", "'deit_small'", "deit_tiny_distilled"]),
    ("model=DeiT_Small", ["model", "'DeiT_Small'", "Did you mean 'deit_small'?"]),
    ("model=null", ["model=null", "deit_small"]),
    ("model=[deit_tiny,deit_small]", ["model", "-m model=A,B"]),
    ("optim={name: sgd}", ["optim", "adamw, lamb, sgd"]),
    ("model=deit_tiny,deit_small", ["model=deit_tiny,deit_small", "-m"]),
    ("data.batch_size=ten", ["data.batch_size", "'ten'", "a whole number (images), at least 1"]),
    ("data.batch_size=1.5", ["data.batch_size", "1.5", "a whole number"]),
    ("data.batch_size=0", ["data.batch_size is 0", "at least 1"]),
    ("data.mean=0.5", ["data.mean", "0.5", "a list, each a number, at least 0, at most 1"]),
    ("optim.betas=[0.9,x]", ["optim.betas", "'x'", "each a number"]),
    ("optim.base_lr=null", ["optim.base_lr is null", "a number"]),
    ("dry_run=maybe", ["dry_run", "'maybe'", "true or false"]),
    ("schedule.name=cosin", ["schedule.name", "'cosin'", "cosine, constant"]),
    ("schedule.epochs.x=3", ["schedule.epochs.x", "a whole number (epochs)"]),
    ("optim.name=sgd", ["optim.name", "optim=OPTION"]),
    ("optim=sgd optim.betas=[0.9,0.9]", ["optim.betas", "optim=adamw"]),
    ("+optim.lrr=1", ["+optim.lrr", "schema is closed", "'optim.base_lr'"]),
    ("++optim.base_lr=1", ["++optim.base_lr", "`++`", "key=value"]),
    ("~model", ["~model", "key=value"]),
    ("model@ema=deit_tiny", ["model@ema", "model=OPTION"]),
    ("model.depth=[1", ["model.depth=[1", "key=value"]),
    ("model=", ["model=", "value is missing"]),
    ("quickstart", ["'quickstart'", "'experiment=quickstart'"]),
    ("--modle deit_tiny", ["--modle", "without dashes", "model="]),
    ("--epochs=3", ["--epochs", "schedule.epochs=3"]),
    ("--foo", ["--foo", "--multirun"]),
    ("--cfg everything", ["--cfg", "'everything'", "'job'"]),
    ("--resolve", ["--resolve", "--cfg"]),
    ("--cfg job -m", ["--multirun", "--cfg", "one of them"]),
    ("--help nothing", ["nothing", "Groups: "]),
    ("--config-name nope", ["nope", "--config-name"]),
    ("hydra.run.dir=here", ["hydra.run.dir", "runs_dir"]),
    ("hydra.nope=1", ["hydra.nope"]),
    ("hydra/launcher=nope", ["hydra/launcher", "'nope'", "cards"]),
    ("-m hydra/launcher=basic seed=1,2", ["hydra/launcher", "'basic'", "cards"]),
    ("sweep.retries=1 experiment=quickstart", ["sweep.retries", "no effect", "-m"]),
    (
        "hydra/launcher=slurm hydra.launcher.partition=p",
        ["hydra/launcher=slurm has no effect", "hydra.launcher.partition=p has"],
    ),
    ("hydra/sweeper=optuna experiment=quickstart", ["hydra/sweeper=optuna has no effect outside a sweep", "-m"]),
    ("sweep=null", ["sweep is a group", "leave it out"]),
    ("-m seed=1,2 sweep.retries=1,2 experiment=quickstart", ["sweep.retries", "whole sweep"]),
    ("-m seed=1,2 experiment=quickstart sweep.directions=[up]", ["sweep.directions", "maximize, minimize"]),
    ("sweep.resume=last", ["sweep.resume=last", "no sweep"]),
    ("sweep.resume=nowhere", ["sweep.resume=nowhere", "sweep.json"]),
    ("sweep.resume=last optim=sgd", ["optim", "sweep.resume", "complete configuration"]),
    ("data.root=${modle.name}", ["data.root", "${modle.name}", "modle"]),
    ("data.root=${oc.env:DEIT_TEST_UNSET}", ["data.root", "DEIT_TEST_UNSET", "not set"]),
    ("name=a/b", ["name", "'a/b'", "letters"]),
    # A trained model where a recipe belongs, and keys of a task without their `task.`.
    ("task=predict model=out/model.onnx task.input=x", ["model is 'out/model.onnx'", "as task.model=out/model.onnx."]),
    ("task=compare model=last", ["task.models=[last,...]"]),
    ("task=export model=last", ["run=last or checkpoint=last"]),
    ("task=predict input=x", ["unknown key input", "'task.input'"]),
    ("task=register alias=x", ["unknown key alias", "'task.alias'"]),
    ("task=export run=last export.format=onnx", ["unknown key export.format", "'task.format'"]),
    ("task=compare models=[a,b]", ["unknown key models", "'task.models'?"]),
    ("task=compare runs=[a,b]", ["unknown key runs", "'task.models' or 'runs_dir'"]),
    ("task=predict checkpoint=x task.input=s3://photos/val", ["task.input is 's3://photos/val'", "of this machine"]),
]
RULES = [
    ("model.num_heads=5", ["model.embed_dim is 384", "model.num_heads 5", "multiple of num_heads"]),
    ("model.img_size=225", ["model.img_size is 225", "model.patch_size 16", "224"]),
    ("data.batch_size=3", ["data.batch_size is 3", "augment.mixup=0.8", "an even number"]),
    ("augment.scale=[1.0,0.5]", ["augment.scale is [1, 0.5]", "[0.5, 1]"]),
    ("augment.auto_augment=rand-q9", ["rand-q9", "allowed"]),
    ("model.img_size=x", ["model.img_size is 'x'", "a whole number or [height, width]"]),
    ("model.img_size=[32,48,64]", ["model.img_size is [32, 48, 64]", "a whole number or [height, width]"]),
    ("model.img_size=[32,true]", ["model.img_size is [32, True]"]),
    ("model.img_size=[0,32]", ["model.img_size is [0, 32]", "at least 1"]),
    ("model.img_size=[160,250]", ["model.img_size is [160, 250]", "model.patch_size 16", "[160, 256]"]),
    ("data.mean=[0.5,0.5]", ["data.mean has 2 values", "model.in_chans is 3", "data.mean=[0.5,0.5,0.5]"]),
    ("model.in_chans=1", ["data.mean has 3 values", "in_chans is 1", "data.mean=[0.449]", "data.std=[0.226]"]),
    ("model.in_chans=4", ["model.in_chans is 4", "3 channels (RGB) or 1 (grey)"]),
    ("task=evaluate checkpoint=x model.in_chans=1", ["data.mean has 3 values"]),
    ("task=preview model.in_chans=1", ["data.mean has 3 values"]),
    (
        "task=evaluate checkpoint=x task.tta=five_crop data.crop_pct=1",
        ["data.crop_pct=1 resizes images to 224", "task.tta=flip"],
    ),
    ("task=evaluate checkpoint=x task.tta=ten_crop", ["task.tta is 'ten_crop'", "one of none, flip, five_crop"]),
    ("distill.mean=[0.5,0.5,0.5]", ["distill.mean has no effect with distill.type=none"]),
    ("loss=bce loss.target_threshold=0", ["augment.smoothing 0.1", "every class", "augment.smoothing=0"]),
    ("loss=bce loss.target_threshold=1 augment.smoothing=0", ["no class", "lower threshold"]),
    ("loss.target_threshold=0.5", ["loss.target_threshold has no effect unless loss=bce"]),
    ("loss=bce augment.crop=src augment.scale=[0.5,1]", ["augment.scale has no effect with augment.crop=src"]),
    ("model.drop_path_rate=0 model.drop_path_mode=uniform", ["model.drop_path_mode has no effect"]),
    ("model.freeze=all_but_heads", ["model.freeze is all_but_heads", "Did you mean 'all_but_head'?", "from 1 to 12"]),
    ("model.freeze=13 model.pretrained=x", ["model.freeze is 13", "from 1 to 12"]),
    ("model.freeze=6", ["model.freeze is 6", "model.pretrained is null"]),
    (
        "model.freeze=all_but_head model.pretrained=x optim.layer_decay=0.7",
        ["optim.layer_decay has no effect with model.freeze=all_but_head"],
    ),
    ("optim.layer_decay=1.5", ["optim.layer_decay is 1.5", "above 0, at most 1"]),
    ("data.balance=full loss.class_weights=sqrt", ["data.balance is full", "loss.class_weights sqrt", "one of them as none"]),
    ("data.balance=half", ["data.balance is 'half'", "none, sqrt, full"]),
    ("loss=bce loss.class_weights=balanced", ["loss.class_weights has no effect with loss=bce"]),
    (
        "checkpointing.monitor=val_ema/loss",
        ["checkpointing.monitor is val_ema/loss", "ema.enabled is false", "checkpointing.monitor=val/loss", "ema=short"],
    ),
    ("schedule.patience=0", ["schedule.patience is 0", "at least 1"]),
    ("model.init_values=0", ["model.init_values is 0", "above 0"]),
    ("distill=hard", ["distill.teacher", "not set", "text or null"]),
    ("distill=hard distill.teacher=t", ["distill.type is hard", "model.distilled is false", "deit_small_distilled"]),
    (
        "model=deit_small_distilled",
        ["model.distilled is true", "distill.type=none", "distill=hard", "model.pretrained=WEIGHTS"],
    ),
    ("distill.teacher=t", ["distill.teacher is 't'", "distill.type=none"]),
    ("precision=bf16 hardware=cpu", ["precision.dtype is bfloat16", "hardware.target is cpu", "precision=fp32"]),
    ("precision=fp32 precision.loss_scale=dynamic", ["precision.loss_scale is dynamic", "float32", "loss_scale=none"]),
    ("precision=bf16 precision.loss_scale=static", ["precision.loss_scale is static", "bfloat16"]),
    ("model.attention=flash hardware=cpu", ["model.attention is flash", "hardware.target is cpu", "attention=auto"]),
    ("model.attention=flash precision=fp32", ["model.attention is flash", "O0", "attention=auto"]),
    ("schedule.epochs=5", ["schedule.warmup_epochs is 5", "schedule.epochs 5", "fewer warmup"]),
    ("schedule.warmup_lr=1", ["schedule.warmup_lr is 1", "peak of 0.000125", "at most the peak"]),
    ("data=imagefolder", ["data.root is null", "data.source=imagefolder", "data.root=FOLDER"]),
    (
        "data=imagefolder data.labels=a.csv data.format=tar",
        ["data.labels is 'a.csv'", "data.format=tar", "their own labels"],
    ),
    ("data=imagefolder data.labels=s3://a/b.csv", ["data.labels is 's3://a/b.csv'", "a file or folder of this machine"]),
    ("data=imagefolder data.root=x data.folds=5", ["data.folds is 5", "data.fold is null", "data.folds=5 data.fold=0"]),
    ("data=imagefolder data.root=x data.fold=1", ["data.fold is 1", "data.folds is null", "give both"]),
    ("data=imagefolder data.root=x data.folds=5 data.fold=5", ["data.fold is 5", "allowed: 0 to 4"]),
    ("data=imagefolder data.root=x data.folds=5 data.fold=0 data.val_fraction=0.1", ["data.val_fraction is 0.1", "give one"]),
    ("data=imagefolder data.root=x data.val_fraction=0", ["data.val_fraction is 0", "above 0"]),
    ("data=imagefolder data.root=x data.eval_split=test", ["data.eval_split is test", "task=evaluate run=RUN"]),
    ("data=digits data.split_seed=1", ["data.split_seed has no effect", "data.source=digits"]),
    ("data=imagefolder data.root=x data.split_file=a data.labels=b", ["data.labels has no effect", "with data.split_file"]),
    ("data=digits data.root=x", ["data.root is 'x'", "reads no folder", "data.root=null"]),
    ("data=cifar10 data.num_classes=9", ["data.num_classes is 9", "has 10"]),
    ("task=evaluate", ["task=evaluate", "run", "checkpoint", "neither"]),
    ("task=evaluate run=last", ["run=last", "no training run"]),
    ("task=evaluate run=nowhere", ["run=nowhere", "no such directory"]),
    ("resume=nowhere", ["resume=nowhere", "no such directory"]),
    ("run=a resume=b", ["run=a", "resume=b"]),
    ("checkpoint=x.safetensors", ["checkpoint=x.safetensors", "task=train", "task=evaluate"]),
    ("hardware=ascend2x8", ["hardware.node_rank is null", "hardware.master_addr is null", "hardware.nodes is 2"]),
    ("hardware=ascend2x8 hardware.node_rank=2 hardware.master_addr=a", ["hardware.node_rank is 2", "0 to 1"]),
    ("hardware.node_rank=0", ["hardware.node_rank is 0", "hardware.nodes is 1"]),
    ("hardware=ascend8 hardware.card_ids=[0,1]", ["hardware.card_ids is [0, 1]", "hardware.cards is 8"]),
    ("hardware=ascend1 hardware.cards=2 hardware.card_ids=[1,1]", ["hardware.card_ids is [1, 1]", "each card once"]),
    ("hardware=cpu hardware.card_ids=[0]", ["hardware.card_ids is [0]", "hardware.target=cpu"]),
    ("tracking.uri=null", ["tracking.uri is null", "tracking=none"]),
    ("tracking=none tracking.uri=sqlite:///a.db", ["tracking.uri has no effect", "backend=none"]),
    ("tracking.uri=mlruns", ["tracking.uri is mlruns", "sqlite:///FILE"]),
    ("ema.decay=0.9", ["ema.decay", "no effect", "ema.enabled"]),
    ("hardware=cpu hardware.deterministic=false", ["hardware.deterministic has no effect", "hardware.target=cpu"]),
    ("hardware.jit=false hardware.jit_level=O1", ["hardware.jit_level has no effect", "hardware.jit=false"]),
    ("augment.color_jitter=0.4", ["augment.color_jitter", "no effect", "augment.auto_augment"]),
    ("task=evaluate checkpoint=a.safetensors optim.base_lr=1", ["optim.base_lr", "no effect", "task=evaluate"]),
]
SWEEPS = [
    ("-m model=glob(x*)", ["model=glob(x*)", "matches nothing", "deit_small"]),
    ("-m seed=1,1", ["seed=1,1", "twice"]),
    ("-m seed=interval(0,1)", ["seed=interval(0,1)", "single values"]),
    ("-m model=deit_tiny,nope", ["trial 1 (model=nope)", "model is 'nope'", "deit_tiny"]),
    ("-m optim.base_lr=1e-3,abc", ["optim.base_lr", "'abc'", "a number"]),
    ("-m data.batch_size=8,9", ["trial 1 (data.batch_size=9)", "data.batch_size is 9", "an even number"]),
    ("-m ema.decay=0.9,0.8", ["In every trial", "ema.decay", "no effect"]),
    (
        "-m schedule=cosine,paper schedule.min_lr=1e-6 schedule.cooldown_epochs=0 schedule.timing=end",
        ["trial 0", "trial 1", "the same configuration"],
    ),
    ("-m sweep=lr_weight_decay,quickstart_grid", ["sweep=lr_weight_decay,quickstart_grid", "one template"]),
    ("sweep=lr_weight_decay,quickstart_grid", ["sweep=lr_weight_decay,quickstart_grid", "one template"]),
    ("-m experiment=quickstart,null", ["experiment is a group", "quickstart", "to choose none, leave it out"]),
    ("sweep=quickstart_grid experiment=null", ["experiment=null", "to choose none, leave it out"]),
    ("-m +hydra.sweeper.params.seed=1,2", ["+hydra.sweeper.params.seed=1,2", "in a template", "seed=0,1"]),
    ("-m seed=1,2 hydra.launcher.address=auto", ["hydra.launcher.address belongs to hydra/launcher=ray;"]),
    ("sweep=lr_weight_decay data.batch_size=3", ["trial 0", "7 more", "data.batch_size is 3"]),
    ("sweep=nope", ["sweep", "'nope'", "lr_weight_decay"]),
]


# What only the launcher's look at machine, data and checkpoints can find. Each entry names a function of the
# working directory that prepares it, the arguments and the words of the message.
def image_folder(directory: Path, **classes: list[str]) -> None:
    for split, names in classes.items():
        for name in names:
            (directory / "images" / split / name).mkdir(parents=True)
            for index in range(4):
                Image.new("RGB", (16, 16), (index, 0, 0)).save(directory / "images" / split / name / f"{index}.jpg")


def unlike_classes(directory: Path) -> None:
    image_folder(directory, train=["ant", "bee"], val=["ant", "cow"])


def eight_images(directory: Path) -> None:
    image_folder(directory, train=["ant", "bee"], val=["ant", "bee"])


def torn_jpeg(directory: Path) -> None:
    eight_images(directory)
    torn = directory / "images" / "train" / "bee" / "2.jpg"
    torn.write_bytes(torn.read_bytes()[:100])


def torn_checkpoint(directory: Path) -> None:
    (directory / "torn.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")


def other_checkpoint(directory: Path) -> None:
    save_file({"cls_token": np.zeros((1, 1, 7), np.float32)}, directory / "other.safetensors")


def nothing(directory: Path) -> None:
    pass


FOLDER = "data=imagefolder data.root=images model=deit_micro hardware=cpu tracking=none"
DIGITS = "experiment=quickstart"
PREFLIGHT: list[tuple[Callable[[Path], None], str, list[str]]] = [
    (nothing, f"{FOLDER} data.batch_size=4", ["data.root", "images"]),
    (unlike_classes, f"{FOLDER} data.batch_size=4", ["cow"]),
    (torn_jpeg, f"{FOLDER} data.batch_size=4", ["bee/2.jpg"]),
    (eight_images, f"{FOLDER} data.batch_size=4 data.train_size=9", ["data.train_size is 9", "8 training images"]),
    (
        nothing,
        f"{DIGITS} hardware=cpu hardware.cards=4096 data.train_limit=null data.batch_size=2 optim.accumulation_steps=1",
        ["4096"],
    ),
    (nothing, f"{DIGITS} hardware=cpu task=evaluate checkpoint=gone.safetensors", ["checkpoint", "gone.safetensors"]),
    (torn_checkpoint, f"{DIGITS} hardware=cpu task=evaluate checkpoint=torn.safetensors", ["torn.safetensors"]),
    (
        other_checkpoint,
        f"{DIGITS} hardware=cpu task=evaluate checkpoint=other.safetensors",
        ["other.safetensors", "another model", "deit_micro"],
    ),
    (nothing, f"{DIGITS} hardware=ascend8", ["hardware.target=ascend", "no Ascend card", "hardware=cpu"]),
    (nothing, f"{DIGITS} hardware=gpu1", ["hardware.target=gpu", "no GPU"]),
    (nothing, f"{DIGITS} hardware=auto precision=bf16", ["precision.dtype is bfloat16", "hardware.target is cpu"]),
    (nothing, f"{DIGITS} hardware=cpu resume=last", ["resume=last", "no training run"]),
    (
        nothing,
        f"{DIGITS} hardware=cpu model.distilled=true distill=hard distill.teacher=gone",
        ["distill.teacher=gone", "no such file or folder"],
    ),
]


def split(arguments: str) -> list[str]:
    return [arguments] if arguments.startswith("optim={") else arguments.split()


def complain(outcome, words: list[str], directory: Path) -> None:
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    for word in words:
        assert word in outcome.err
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"), TYPED + RULES + SWEEPS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_typed_mistakes_are_rejected(arguments: str, words: list[str], command: Command, tmp_path: Path) -> None:
    complain(command(*split(arguments)), words, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    TYPED[:3] + TYPED[27:31] + RULES[:3] + SWEEPS[:4],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_rejected_in_a_real_process(arguments: str, words: list[str], process: Command, tmp_path: Path) -> None:
    complain(process(*split(arguments)), words, tmp_path)


@pytest.mark.parametrize(("prepare", "arguments", "words"), PREFLIGHT)
def test_mistakes_are_rejected_by_the_launcher(
    prepare, arguments: str, words: list[str], command: Command, tmp_path: Path
) -> None:
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    outcome = command(*split(arguments))
    assert outcome.code == 2 and "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_all_typed_mistakes_are_reported_at_once(command: Command) -> None:
    lines = command("lr=1", "model=[a,b]", "foo", "data.workers=-x").err.splitlines()
    assert [line.split(":")[0].split(" is")[0] for line in lines] == ["'foo'", "lr=1", "model=[a,b]", "data.workers=-x"]


GLOBAL = "# @package _global_\n"
FILES = [
    ("experiment", GLOBAL + "optim:\n  lrr: 1\n", ["experiment/bad", "optim.lrr", "'optim.base_lr'"]),
    ("experiment", GLOBAL + "optim:\n  base_lr: abc\n", ["experiment/bad", "optim.base_lr", "'abc'", "a number"]),
    ("experiment", GLOBAL + "data:\n  mean: [a, b]\n", ["experiment/bad", "data.mean[0]", "'a'", "each a number"]),
    ("experiment", GLOBAL + "foo: 3\n", ["experiment/bad", "unknown key foo"]),
    ("experiment", GLOBAL + "optim: sgd\n", ["experiment/bad", "sgd"]),
    ("experiment", GLOBAL + "optim:\n  base_lr: [1\n", ["bad.yaml", "line 4", "YAML"]),
    ("experiment", GLOBAL + "optim:\n  base_lr: 1\n  base_lr: 2\n", ["bad.yaml", "line 4", "duplicate key base_lr"]),
    ("experiment", GLOBAL + "- a\n", ["experiment/bad"]),
    ("experiment", "optim:\n  base_lr: 1\n", ["experiment/bad", "# @package _global_"]),
    ("experiment", GLOBAL + "defaults:\n  - override /model: nope\n", ["model is 'nope'", "deit_small"]),
    ("experiment", GLOBAL + "defaults:\n  - override /modle: deit_tiny\n", ["experiment/bad", "modle", "'model'"]),
    ("experiment", GLOBAL + "defaults:\n  - /model: deit_tiny\n", ["model", "override /model: deit_tiny"]),
    ("experiment", GLOBAL + "name: ${modle.name}\n", ["name", "${modle.name}"]),
    ("experiment", GLOBAL + "data:\n  root: ${oc.env:DEIT_TEST_UNSET}\n", ["data.root", "DEIT_TEST_UNSET", "not set"]),
    ("experiment", GLOBAL + "optim:\n  name: sgd\n", ["optim.name", "'sgd'", "optim=sgd"]),
    ("model", "name: bad\nimg: 3\n", ["model/bad", "model.img", "'model.img_size'"]),
    ("model", "name: bad\npatch_size: x\n", ["model/bad", "model.patch_size", "'x'", "a whole number"]),
    ("model", "name: bad\n", ["model.img_size is not set", "pixels"]),
    ("local", GLOBAL + "data:\n  path: /images\n", ["local/default", "data.path"]),
    ("sweep", GLOBAL + "hydra:\n  sweeper:\n    params:\n      seed: 1,2\n", ["sweep=bad", "`mode: MULTIRUN`"]),
    (
        "sweep",
        GLOBAL + "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      hydra/launcher: slurm\n      seed: 1,2\n",
        ["trial 0 (seed=1", "its own hydra.launcher settings"],
    ),
]


@pytest.mark.parametrize(("group", "text", "words"), FILES)
def test_mistakes_in_a_file_name_the_file(
    group: str, text: str, words: list[str], command: Command, tmp_path: Path, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("more")
    (folder / group).mkdir()
    name = "default" if group == "local" else "bad"
    (folder / group / f"{name}.yaml").write_text(text)
    chosen = [] if group == "local" else [f"{group}=bad"]
    complain(command("--config-dir", str(folder), *chosen), words, tmp_path)


def test_internal_error_still_shows_its_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **more: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr("deit.commands.table.start", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        command("experiment=quickstart")

"""Values computed for few and for many images; given values take precedence."""

from __future__ import annotations

from typing import Any

import pytest

from deit.errors import UserError
from deit.recipe.data_defaults import RULES, Facts, derive

GIVEN = {"optim.accumulation_steps": 1, "optim.lr_base_size": None, "precision.dtype": "float16"}


def values(images: int | None, *, device: str = "ascend", ranks: int = 1, gmacs: float = 4.6, **given: Any) -> dict[str, Any]:
    """All that the rules choose; ``given`` has `__` for the dot of a key."""
    typed = {key.replace("__", "."): value for key, value in given.items()}
    asked = [key for key in RULES if key not in typed]
    found = derive(Facts(images, device, ranks, gmacs, "deit_small", 384, "deit_small_patch16_224"), asked, GIVEN | typed)
    return typed | {key: choice.value for key, choice in found.items()}


@pytest.mark.parametrize("images", [8, 20, 60, 254, 800, 5_000, 60_000, 1_281_167])
@pytest.mark.parametrize("ranks", [1, 2])
def test_an_epoch_has_several_steps_and_a_training_enough(images: int, ranks: int) -> None:
    found = values(images, ranks=ranks)
    steps = images // (found["data.batch_size"] * ranks)
    assert steps >= min(8, images // ranks)
    assert steps * found["schedule.epochs"] >= min(1_200, 50 * steps)
    assert 5 <= found["schedule.epochs"] <= 50
    assert 0 < found["schedule.warmup_epochs"] < found["schedule.epochs"]
    assert found["schedule.epochs"] / found["schedule.eval_every"] <= 25 and found["checkpointing.every"] <= 2
    assert 1e-6 < found["optim.base_lr"] <= 2e-4 and 0.9 <= found["ema.decay"] <= 0.9999


def test_318_photos() -> None:
    """The set of the issue: the old defaults made 310 epochs of two steps."""
    found = values(254)
    assert (found["data.batch_size"], found["schedule.epochs"], found["schedule.warmup_epochs"]) == (8, 50, 5)
    assert (found["augment.mixup"], found["augment.cutmix"], found["augment.reprob"], found["model.drop_path_rate"]) == (0,) * 4


def test_regularisation_grows_with_the_images() -> None:
    small, medium, large = (values(images) for images in (4_999, 5_000, 50_000))
    for key in ("augment.mixup", "augment.cutmix", "augment.reprob", "model.drop_path_rate"):
        assert small[key] < medium[key] < large[key]
    assert (large["augment.mixup"], large["augment.cutmix"], large["augment.scale"]) == (0.8, 1.0, [0.08, 1.0])


def test_rules_see_the_given_values() -> None:
    found = values(2_560, data__batch_size=64, schedule__epochs=3, optim__lr_base_size=512)
    assert found["schedule.warmup_epochs"] == 1 and found["tracking.log_every"] == 8
    assert (
        values(330, data__last_batch="fill", schedule__epochs=100)["ema.decay"] > values(330, schedule__epochs=100)["ema.decay"]
    )
    assert found["optim.base_lr"] * 64 / 512 == pytest.approx(1e-4)  # the peak that the batch deserves
    assert values(2_560, schedule__epochs=1)["schedule.warmup_epochs"] == 0
    scratch = values(2_560, model__pretrained=None)
    assert scratch["optim.base_lr"] == pytest.approx(5 * values(2_560)["optim.base_lr"]) and scratch["schedule.epochs"] == 200


def test_a_wider_network_learns_more_slowly() -> None:
    rates = []
    for width in (192, 384, 768):
        facts = Facts(2_560, "cpu", 1, 4.6, "", width, "-")
        rates.append(derive(facts, ["optim.base_lr"], GIVEN | {"data.batch_size": 64, "model.pretrained": "-"}))
    assert [found["optim.base_lr"].value for found in rates] == [2e-4, 1e-4, 5e-5]
    assert "384/192 for the width" in rates[0]["optim.base_lr"].why


def test_device_and_processes() -> None:
    on_cpu, on_card = values(100_000, device="cpu"), values(100_000)
    assert (on_cpu["precision.level"], on_cpu["precision.loss_scale"]) == ("O0", "none")
    assert (on_card["precision.level"], on_card["precision.loss_scale"]) == ("O1", "dynamic")
    assert values(100, precision__level="O2", precision__dtype="bfloat16")["precision.loss_scale"] == "none"
    assert (on_cpu["data.batch_size"], on_card["data.batch_size"]) == (32, 128)
    assert values(100_000, ranks=8)["data.batch_size"] == 32
    assert values(100_000, gmacs=55.5)["data.batch_size"] == 32


def test_a_reason_names_what_it_depends_on() -> None:
    facts = Facts(318, "cpu", 1, 4.6, "deit_small", 384, "deit_small_patch16_224")
    assert derive(facts, ["data.batch_size"], GIVEN)["data.batch_size"].why.startswith("318 training images:")
    unknown = Facts(None, "cpu", 1, 4.6, "deit_small", 384)
    assert "not counted" in derive(unknown, ["augment.mixup"], GIVEN)["augment.mixup"].why


def test_key_without_a_rule_and_model_without_weights_are_rejected() -> None:
    facts = Facts(318, "cpu", 1, 0.1, "deit_micro", 128)
    with pytest.raises(UserError, match=r"seed is .* but has no rule; allowed for model.pretrained, "):
        derive(facts, ["seed"], GIVEN)
    with pytest.raises(UserError, match=r"no official weights of model\.name=deit_micro; give model.pretrained=FILE"):
        derive(facts, ["model.pretrained"], GIVEN)

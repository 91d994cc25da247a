"""The grammar of RandAugment policies, and the random choices of a policy."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from composition import composed

from deit.commands.train import TASK
from deit.compose import unused_keys
from deit.data.operations import argument
from deit.data.policy import ThreeAugment, jitters, parse_policy
from deit.data.randaugment import OPERATIONS, WEIGHTS_0, RandAugment
from deit.errors import UserError


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("rand-m9-mstd0.5-inc1", RandAugment(9.0, 2, magnitude_std=0.5, increasing=True)),
        ("rand", RandAugment(10.0, 2)),
        ("rand-n3-m7", RandAugment(7.0, 3)),
        ("rand-m15", RandAugment(15.0, 2)),
        ("rand-m12-mmax20", RandAugment(12.0, 2, magnitude_max=20.0)),
        ("rand-m10-inc0", RandAugment(10.0, 2, increasing=False)),
        ("rand-mstd1-w0", RandAugment(10.0, 2, magnitude_std=1.0, weights=tuple(WEIGHTS_0.values()))),
        ("rand-mstd.25-m0", RandAugment(0.0, 2, magnitude_std=0.25)),
        ("rand-mstd100", RandAugment(magnitude_std=100.0)),
        ("rand-mstd100.5", RandAugment(magnitude_std=math.inf)),
        ("rand-mstdinf", RandAugment(magnitude_std=math.inf)),
        ("rand-p.25", RandAugment(probability=0.25)),
        ("rand-p1-n1", RandAugment(layers=1, probability=1.0)),
        ("rand-t3a", RandAugment(increasing=True, operations=("Solarize", "Desaturate", "GaussianBlur"))),
        ("rand-inc1-t3a", RandAugment(increasing=True, operations=("Solarize", "Desaturate", "GaussianBlur"))),
        ("3a", ThreeAugment()),
    ],
)
def test_policies_that_are_understood(text, policy):
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("rand-m9-mtsd0.5", "part 'mtsd0.5' is not understood"),
        ("rand-m100", "part 'm100' is not understood"),
        ("rand-m9.5", "part 'm9.5' is not understood"),
        ("rand-n0", "part 'n0' is not understood"),
        ("rand-p1.5", "part 'p1.5' is not understood"),
        ("rand-mmax0", "part 'mmax0' is not understood"),
        ("rand-inc2", "part 'inc2' is not understood"),
        ("rand-w1", "part 'w1' is not understood"),
        ("rand-tweight", "part 'tweight' is not understood"),
        ("rand-m9-m8", "part 'm8' is not understood"),
        ("rand-mstd", "part 'mstd' is not understood"),
        ("rand-mstd0.5.1", "part 'mstd0.5.1' is not understood"),
        ("rand-", "part '' is not understood"),
        ("rand-m-9", "part 'm' is not understood"),
        ("rand-9", "part '9' is not understood"),
        ("rand-w0-n14", "part 'n14' is more than the 13 operations drawn without replacement"),
        ("rand-t3aw-n15", "part 'n15' is more than the 14 operations drawn without replacement"),
        ("rand-w0-tweights", "part 'tweights', a set of increasing operations, contradicts 'w0'"),
        ("rand-inc0-t3a", "part 't3a', a set of increasing operations, contradicts 'inc0'"),
    ],
)
def test_policy_mistake_is_reported(text, part):
    with pytest.raises(UserError) as caught:
        parse_policy(text)
    message = str(caught.value)
    assert message.startswith(f"augment.auto_augment is {text!r}, whose {part}; allowed: rand")
    for allowed in ("-mM", "-nN", "-pP", "-mstdS", "-mmaxX", "-inc0 or -inc1", "-w0", "-tSET", "3a, 3aw, weights"):
        assert allowed in message


@pytest.mark.parametrize("text", ["augmix-m5", "", "3A", "3a-mstd0.5", "original", "randaugment"])
def test_unknown_policies_are_rejected(text):
    with pytest.raises(UserError) as caught:
        parse_policy(text)
    assert str(caught.value).startswith(f"augment.auto_augment is {text!r}; allowed: null, 3a (3-Augment of DeiT III), or rand")


def _unused(policy: str) -> list[str]:
    return unused_keys.problems(composed(policy), ["augment.color_jitter"], TASK.unused)


def test_colour_jitter_is_allowed_only_with_3_augment():
    assert jitters(None) and jitters("3a") and jitters("rand-m9-t3aw")
    assert not jitters("rand-m9-mstd0.5-inc1")
    assert _unused("augment=deit3") == _unused("augment=light") == []
    (complaint,) = _unused("augment=deit")
    assert complaint == "augment.color_jitter has no effect while augment.auto_augment is rand-m9-mstd0.5-inc1."


@pytest.mark.process
def test_parsing_needs_no_image_library():
    imported = "import sys, deit.data.policy, deit.data.datasets"
    code = f"{imported}; print({{'cv2', 'PIL', 'sklearn', 'mindspore'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# timm 0.3.2's LEVEL_TO_ARG at level 9: with inc1, and without.
LEVEL_9 = {
    "AutoContrast": (0, 0),
    "Equalize": (0, 0),
    "Invert": (0, 0),
    "Rotate": (27.0, 27.0),
    "Posterize": (1, 3),
    "Solarize": (26, 230),
    "SolarizeAdd": (99, 99),
    "Color": (1.81, 1.72),
    "Contrast": (1.81, 1.72),
    "Brightness": (1.81, 1.72),
    "Sharpness": (1.81, 1.72),
    "ShearX": (0.27, 0.27),
    "ShearY": (0.27, 0.27),
    "TranslateX": (0.405, 0.405),
    "TranslateY": (0.405, 0.405),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_arguments_at_level_9(name):
    increasing, plain = LEVEL_9[name]
    assert argument(name, 9, 1, True) == pytest.approx(increasing)
    assert argument(name, 9, 1, False) == pytest.approx(plain)


def test_signs_and_limits_of_arguments():
    assert argument("Rotate", 10, -1, True) == -30
    assert argument("Color", 10, -1, True) == pytest.approx(0.1)
    assert argument("Color", 0, -1, True) == 1.0  # inc1: no magnitude, no change
    assert argument("Color", 0, 1, False) == pytest.approx(0.1)
    assert argument("Posterize", 10, 1, True) == 0
    assert argument("Posterize", 0, 1, True) == 4
    assert argument("Solarize", 10, 1, True) == 0


def test_draws_are_uniform_with_replacement_and_half_are_applied():
    policy, rng = parse_policy("rand-m9-n2-inc1"), np.random.default_rng(0)
    images = [policy.draw(rng) for _ in range(6000)]
    lengths = Counter(len(drawn) for drawn in images)
    for length, share in enumerate((0.25, 0.5, 0.25)):
        assert lengths[length] / len(images) == pytest.approx(share, abs=0.03)
    counts = Counter(operation.name for drawn in images for operation in drawn)
    assert set(counts) == set(OPERATIONS)
    assert max(counts.values()) < 1.25 * min(counts.values())
    assert any(len(drawn) == 2 and drawn[0].name == drawn[1].name for drawn in images)


def test_magnitude_is_normal_and_clipped():
    policy, rng = parse_policy("rand-m9-n1-mstd0.5-inc1"), np.random.default_rng(1)
    degrees = np.array([o.argument for _ in range(60000) for o in policy.draw(rng) if o.name == "Rotate"])
    assert np.abs(degrees).max() == 30.0  # 10 is two deviations away, so some are clipped to it
    assert 0.01 < np.mean(np.abs(degrees) == 30.0) < 0.04
    assert np.abs(degrees).mean() == pytest.approx(27.0, abs=0.15)
    assert np.abs(degrees).std() == pytest.approx(1.5, abs=0.12)
    assert abs(np.mean(degrees > 0) - 0.5) < 0.04


def test_zero_deviation_gives_the_magnitude_itself():
    policy, rng = parse_policy("rand-m4-n1"), np.random.default_rng(2)
    shears = {abs(o.argument) for _ in range(500) for o in policy.draw(rng) if o.name == "ShearX"}
    assert [round(shear, 9) for shear in shears] == [0.12]


def test_weighted_choice_is_without_replacement():
    policy, rng = parse_policy("rand-m5-n13-w0"), np.random.default_rng(3)
    for _ in range(50):
        names = [operation.name for operation in policy.draw(rng)]
        assert len(names) == len(set(names))
        assert not {"Invert", "Posterize"} & set(names)  # their weight is 0
    one = parse_policy("rand-m5-n1-w0")
    counts = Counter(operation.name for _ in range(4000) for operation in one.draw(rng))
    assert counts["Rotate"] / counts.total() == pytest.approx(0.3 / 1.025, abs=0.04)

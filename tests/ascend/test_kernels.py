"""Kernels are read from MindSpore's log and dumped graphs as they are written."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from ascend import stand_ins
from ascend.cases import CASES
from ascend.dry_run import COUNTS, ROOT, faults, main, stored
from ascend.kernels import Kernels, read

LOG = """
[INFO] DEVICE(1,2,python) GenerateKernelMod] kernel opname:Cast, kernel type:opapi_kernel
[INFO] DEVICE(1,2,python) GenerateKernelMod] kernel opname:AddN, kernel type:acl_kernel
[INFO] DEVICE(1,2,python) GenerateKernelMod] kernel opname:Reshape, kernel type:rt_kernel
[INFO] DEVICE(1,2,python) GenerateKernelMod] kernel opname:AllReduce, kernel type:hccl_kernel
"""
LATER = "@@ waited for all streams\n@@ copied 32 bytes to the card\n[INFO] Run\n@@ waited for all streams\n"
F32, F16 = "<Float32xDefaultFormat[const vector]{8}>", "<Float16xDefaultFormat[const vector]{8}>"


def node(number: int, operator: str, inputs: str, outputs: str, kinds: str) -> str:
    return f"""  %{number}(CNode_{number}) = {operator}(%0, I64(1)) primitive_attrs: {{stream_id: U32(0)}}
      : (<Tensor[Float32], (8)>) -> (<Tensor[Float32], (8)>)
      : ({inputs}) -> ({outputs})
      : ({kinds}) -> (Tensor)
"""


GRAPH = "".join(
    [
        node(1, "PrimFunc_Cast", f"{F32}, <Int64xDefaultFormat[const vector]{{}}>", F16, "Tensor, Scalar"),
        node(2, "AddN", ", ".join([F32] * 5), F32, "Tensor, Tensor, Tensor, Tensor, Tensor"),
        node(3, "PrimFunc_Reshape", F32, F32, "Tensor"),
        node(4, "AllReduce", F32, F32, "Tensor"),
        node(5, "PrimFunc_Erfinv", F32, F32, "Tensor"),  # not in the log
        "  %6(CNode_6) = Depend(%5, %4) primitive_attrs: {}\n      : (<Tensor[Float32], (8)>) -> (<Tensor[Float32], (8)>)\n",
        "      # Fullname with scope: (Default/Depend-op0)\n      #\n",
    ]
)


def test_kernels_of_a_graph() -> None:
    found = read(LOG, LATER, [GRAPH])
    assert found.operators == {
        "AddN(float32*)->float32": ("aclop", 1),
        "AllReduce(float32)->float32": ("hccl", 1),
        "Cast(float32)->float16": ("aclnn", 1),
        "Erfinv(float32)->float32": ("cpu", 1),
        "Reshape(float32)->float32": ("view", 1),
    }
    assert found.table() == {
        **{"kernels": 4, "aclnn": 1, "aclop": 1, "cpu": 1},
        **{"casts": 1, "all_reduces": 1, "synchronisations": 2},
    }
    assert found.synchronisations == ["waited for all streams", "copied 32 bytes to the card"]  # and the wait for the call


def test_faults_of_a_case() -> None:
    cast, assign, erfinv = "Cast(float32)->float16", "Assign(float32,float32)->float32", "Erfinv(float32)->float32"
    found = Kernels(Counter(aclnn=2), {cast: ("aclnn", 2), "Reshape(float32)->float32": ("view", 1)}, ["step end"])
    counts, reviewed = found.table(), {cast: {"kind": "aclnn", "confirmed": "dry run"}}
    assert faults(found, counts, reviewed) == []
    assert faults(found, {name: count + 1 for name, count in counts.items()}, reviewed) == []
    assert faults(found, counts | {"casts": 1, "synchronisations": 0}, reviewed) == [
        "2 casts, stored are 1",
        "1 synchronisations, stored are 0",
    ]
    assert faults(found, counts, {}) == [f"{cast} (aclnn) is not in operators.json"]
    assert faults(found, None, reviewed) == ["no numbers are stored"]
    found.compiled_again = True
    assert faults(found, counts, reviewed) == ["the second call is compiled again"]
    found.compiled_again = False
    found.operators |= {cast: ("aclop", 2), assign: ("aclop", 1), erfinv: ("cpu", 1)}
    assert faults(found, counts, reviewed | {assign: {"kind": "aclop"}, erfinv: {"kind": "cpu"}}) == [
        f"{cast} (aclop) was aclnn",
        f"{erfinv} runs on the CPU",
    ]


def test_table_of_the_documentation() -> None:
    """Its rows are the cases, with the stored numbers."""
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\| ([\d,| ]+) \|$", (ROOT / "docs/hardware.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    shown = {name: [int(number.replace(",", "")) for number in numbers.split("|")] for name, numbers in rows}
    columns = ("kernels", "aclnn", "aclop", "casts", "all_reduces", "synchronisations")
    assert shown == {name: [counts[column] for column in columns] for name, counts in stored(COUNTS).items()}
    assert list(shown) == [case.name for case in CASES]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("precision=o9", "precision is 'o9', but there is no such option. Allowed: bf16, fp32, o1, o2, o3."),
        ("model.depth=x", "model.depth is 'x'; expected: a whole number, at least 1."),
    ],
)
def test_mistake_in_a_configuration_is_one_message(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stand_ins, "missing", lambda: None)
    assert main([typed]) == 2
    assert said in capsys.readouterr().err

"""A MINDIR is written to and read from a folder of any name, which MindSpore's own export rejects; none may load a library."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from deit.engine.mindir import save_network
from deit.errors import UserError


class Twice(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.parametrize("name", ["plain", "a#b g%20h 图 片? [x]"])
def test_mindir_is_written_to_a_folder_of_any_name(name: str, tmp_path: Path, graph_mode: None) -> None:
    folder = tmp_path / name
    folder.mkdir()
    save_network(Twice(), folder / "model.mindir", (None, 3), ms.float32)
    assert [path.name for path in folder.iterdir()] == ["model.mindir"]
    assert (folder / "model.mindir").stat().st_mode & 0o777 == 0o644
    answer = nn.GraphCell(ms.load(str(folder / "model.mindir")))(Tensor(np.ones((2, 3), np.float32)))
    assert answer.asnumpy().tolist() == [[2.0] * 3] * 2


def test_mindir_that_loads_a_library_is_rejected(tmp_path: Path) -> None:
    from mindspore.train.mind_ir_pb2 import ModelProto

    from deit.engine.mindir import load_mindir

    for name in ("Custom", "REF::Custom", "PyExecute"):
        proto = ModelProto()
        proto.functions.add().node.add().op_type = name
        (tmp_path / "a.mindir").write_bytes(proto.SerializeToString())
        with pytest.raises(UserError, match=rf"uses {name}, .*nothing was executed"):
            load_mindir(tmp_path / "a.mindir", (224, 224), "distill.teacher=a.mindir")

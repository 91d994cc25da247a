"""A MINDIR may not load libraries."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.errors import UserError


def test_mindir_that_loads_a_library_is_rejected(tmp_path: Path) -> None:
    from mindspore.train.mind_ir_pb2 import ModelProto

    from deit.engine.mindir import load_mindir

    for name in ("Custom", "REF::Custom", "PyExecute"):
        proto = ModelProto()
        proto.functions.add().node.add().op_type = name
        (tmp_path / "a.mindir").write_bytes(proto.SerializeToString())
        with pytest.raises(UserError, match=rf"uses {name}, .*nothing was executed"):
            load_mindir(tmp_path / "a.mindir", (224, 224), "distill.teacher=a.mindir")

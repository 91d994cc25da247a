"""Where artifacts can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.tracking.mlflow_errors import Refused
from deit.tracking.remote import check_artifacts


def test_artifacts_of_a_servers_experiment_cannot_be_written_through_its_database(tmp_path: Path) -> None:
    check_artifacts("http://127.0.0.1:5000", "mlflow-artifacts:/1/abc")
    check_artifacts(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "mlruns"))
    with pytest.raises(Refused, match="only that server can write"):
        check_artifacts(f"sqlite:///{tmp_path}/mlflow.db", "mlflow-artifacts:/1/abc")

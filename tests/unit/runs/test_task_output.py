"""task.output must not exist, for each task that has it; disk errors are one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.errors import UserError
from deit.runs.task_output import check_new, new_file, new_folder, writing


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "file.csv").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "home" / "full").mkdir()
    (tmp_path / "home" / "full" / "one").write_text("")
    (tmp_path / "dangling.csv").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize("text", ["file.csv", "empty", "~/full", "dangling.csv"])
def test_existing_output_is_rejected(text: str) -> None:
    with pytest.raises(UserError, match=rf"^task.output is '{text}', which already exists; remove it, or give another name\.$"):
        new_folder(text)


@pytest.mark.parametrize("text", ["file.csv", "dangling.csv"])
def test_existing_file_is_rejected(text: str) -> None:
    with pytest.raises(UserError, match="already exists"):
        new_file(text, (".csv",))


def test_new_output_is_accepted(here: Path) -> None:
    assert new_file("~/new.csv", (".jsonl", ".csv")) == here / "home" / "new.csv"
    assert new_folder("~/new") == here / "home" / "new" and new_folder("empty", may_be_empty=True) == here / "empty"
    with pytest.raises(UserError, match="already exists"):
        new_folder("~/full", may_be_empty=True)


def test_suffix_and_folder_are_checked() -> None:
    with pytest.raises(UserError, match=r"allowed: the name of a \.jsonl or \.csv file, or null\.$"):
        new_file("a.txt", (".jsonl", ".csv"), otherwise=", or null")
    for check in (lambda: new_file("no/a.csv", (".csv",)), lambda: new_folder("no/a")):
        with pytest.raises(UserError, match=r"the folder .*no does not exist; create it first"):
            check()


def test_folder_of_a_run_is_reported(here: Path) -> None:
    with pytest.raises(UserError, match=rf"task\.output is null, so it would be {here}/empty, which already exists"):
        check_new(here / "empty", "null")


def test_disk_error_is_one_message(here: Path) -> None:
    with (
        pytest.raises(UserError, match=r"^task\.output=.*: could not be written \(Is a directory\)\.") as caught,
        writing(here),
    ):
        here.write_text("")
    assert caught.value.exit_code == 1

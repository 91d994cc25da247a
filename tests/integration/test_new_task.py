"""A new task is added by its keys, a file on each side and its YAML file; nothing else is edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from command import LAUNCH

from deit.files import read_json
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FINISHED

KEYS = """

@task("count")
@dataclass
class CountTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = (*NO_TRAINING, "precision")

    unit: str = option("What to count.", choices=("images", "classes"))
"""
CONTROL = '''
"""Count what the data have."""

from deit.commands.task import Task
from deit.compose import rules
from deit.config.tasks import CountTask


class Count(Task[CountTask]):
    def refuses(self, named):
        return ["task=count has nothing to resume."] if named.resume is not None else []

    def rules(self, config):
        return rules.data(config) + rules.hardware(config)

    def unused(self, found):
        super().unused(found)
        found.all_but("model")

    def recipe(self, config, planned):
        return [("counted", self.of(config).unit)]

    def show(self, run, results):
        return f"there are {results['count']} {results['unit']}"


TASK = Count()
'''
WORKER = '''
"""Count what the data have."""

from deit.config.tasks import CountTask, expect
from deit.data.datasets import open_dataset


def run(context):
    unit = expect(context.config.task, CountTask).unit
    data = open_dataset(context.config.data, train=False)
    return {"unit": unit, "count": len(data) if unit == "images" else len(data.classes)}
'''

# The same in one process, for starts that end before a worker begins.
SEVERAL = """\
import contextlib, io, json, sys
from deit.cli import main
sys.argv, found = ["launch.py"], []
for typed in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(typed)
    found.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(found))
"""


def test_task_with_one_file_on_each_side_runs(tmp_path: Path) -> None:
    root = LAUNCH.parent
    for folder in ("deit", "conf"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(LAUNCH, tmp_path)
    with open(tmp_path / "deit" / "config" / "tasks.py", "a") as file:
        file.write(KEYS)
    (tmp_path / "deit" / "commands" / "count.py").write_text(CONTROL)
    (tmp_path / "deit" / "tasks" / "count.py").write_text(WORKER)
    (tmp_path / "conf" / "task" / "count.yaml").write_text(
        "# Count what the data have.\ndefaults:\n  - /schema/task/count@_here_\n\nname: count\nunit: images\n"
    )

    common = ["task=count", "data=digits", "tracking=none", "hardware=cpu"]

    def python(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            input=given,
            capture_output=True,
            text=True,
        )

    ended = python("launch.py", *common)
    assert ended.returncode == 0, ended.stderr
    assert "there are 355 images" in ended.stdout
    (run,) = map(RunDirectory, (tmp_path / "runs").glob("*/*"))
    assert status.read(run).state == FINISHED and status.read(run).results["count"] == 355
    assert {"ema.decay", "model.depth", "precision.level"} <= set(read_json(run.unused_keys))

    mistakes = (
        ("task.unit=cats", "task.unit is 'cats'; allowed: one of images, classes."),
        ("ema.decay=0.5", "ema.decay has no effect with task=count."),
        ("resume=last", "task=count has nothing to resume."),
    )
    starts = [[*common, typed] for typed in ("dry_run=true", *(typed for typed, _ in mistakes))]
    several = python("-c", SEVERAL, given=json.dumps(starts))
    assert several.returncode == 0, several.stderr
    dry, *refused = json.loads(several.stdout)
    assert "counted" in dry[1]
    for (_, said), (code, _, told) in zip(mistakes, refused, strict=True):
        assert (code, told.strip()) == (2, said)

"""The build step that pyproject.toml cannot express: a wheel has conf/, multirun_templates/ and constraints.txt in the package.

They are at the top of the repository, where people edit them; ``deit/installation.py`` finds them in both places.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
FOLDERS = ("conf", "multirun_templates")


class BuildWithConfiguration(build_py):
    """Copies them into a wheel. An editable installation reads those of the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "deit"
        for folder in FOLDERS:
            # An earlier build may have left a file that is not there any more.
            shutil.rmtree(package / folder, ignore_errors=True)
        for source in self._configuration():
            target = package / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        mine = [] if self.editable_mode else self._configuration()
        package = Path(self.build_lib) / "deit"
        return super().get_outputs(include_bytecode) + [str(package / path.relative_to(ROOT)) for path in mine]

    @staticmethod
    def _configuration() -> list[Path]:
        """Without conf/local/, which is about one machine."""
        found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.yaml"))]
        return [path for path in found if path.parent != ROOT / "conf" / "local"] + [ROOT / "constraints.txt"]


setup(cmdclass={"build_py": BuildWithConfiguration})

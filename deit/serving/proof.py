"""Load an MLflow model and ask it what a server would ask, with the code it brings along and no other of this project.

    python -I proof.py FOLDER

A script that imports nothing of ours: what is imported before a model is loaded would be taken instead of the model's own.
Prints the answers to the model's example as JSON.
"""

import json
import sys
from pathlib import Path

import mlflow.pyfunc
from mlflow.models.utils import load_serving_example
from mlflow.pyfunc.scoring_server import _parse_json_data  # what a server makes of the text of a request


def main(folder: str) -> int:
    """Returns the exit code."""
    model = mlflow.pyfunc.load_model(folder)
    request = _parse_json_data(load_serving_example(folder), model.metadata, model.metadata.get_input_schema())
    answers = model.predict(request.data, params=request.params)
    files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "deit" and module.__file__]
    foreign = [file for file in files if not Path(file).is_relative_to(Path(folder).resolve())]
    if foreign:
        print(f"it needs {foreign[0]}, which it does not bring along", file=sys.stderr)
        return 1
    print(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

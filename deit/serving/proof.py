"""Load an MLflow model and send it a request, with the code stored in it and no other of this project.

    python -I proof.py FOLDER

This script imports nothing of ours: modules imported before a model is loaded would replace the model's own. Prints the results
for the model's example as JSON.
"""

import json
import sys
from pathlib import Path

import mlflow.pyfunc
from mlflow.models.utils import load_serving_example
from mlflow.pyfunc.scoring_server import _parse_json_data  # parses a request as a server does


def main(folder: str) -> int:
    """Returns the exit code."""
    model = mlflow.pyfunc.load_model(folder)
    request = _parse_json_data(load_serving_example(folder), model.metadata, model.metadata.get_input_schema())
    answers = model.predict(request.data, params=request.params)
    files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "deit" and module.__file__]
    foreign = [file for file in files if not Path(file).is_relative_to(Path(folder).resolve())]
    if foreign:
        print(f"it needs {foreign[0]}, which is not stored with it", file=sys.stderr)
        return 1
    print(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

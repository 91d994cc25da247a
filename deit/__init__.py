"""DeiT on MindSpore: a command line (``deit --help``), and for Python three functions.

    from deit import evaluate, load_model, predict

    model = load_model("runs/quickstart/20261123_101500_1a2b3c")
    predict(model, "photos/cat.jpg")["class"]
    evaluate(model, "photos")["top1"]

Importing the package imports nothing else, neither MindSpore nor NumPy: the functions are imported when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deit.errors import UserError
    from deit.library.evaluating import evaluate
    from deit.library.loaded_model import Model, load_model
    from deit.library.predicting import predict

__all__ = ["Model", "UserError", "evaluate", "load_model", "predict"]

_HOMES = {
    "Model": "deit.library.loaded_model",
    "UserError": "deit.errors",
    "evaluate": "deit.library.evaluating",
    "load_model": "deit.library.loaded_model",
    "predict": "deit.library.predicting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

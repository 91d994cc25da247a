"""One HTML file that needs no network: a frame, a style sheet, scripts, and the JSON that they draw.

Names and messages are untrusted text: they are escaped in the frame, the JSON contains no ``<``, the scripts set text and never
markup, and a policy in the page allows only those scripts, pictures inside the file, and no loading.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from deit.secrets import redact


def build(title: str, data: Mapping[str, Any], scripts: Sequence[str], *, instead: str) -> str:
    """The page as text. ``scripts`` are the sources that draw ``data``, after ``parts/shapes.js``; without scripts a browser
    shows ``instead``.
    """
    script = '"use strict";\n(() => {\n' + "\n".join([_part("shapes.js"), *scripts]) + "})();\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'"
    values = {
        "policy": f"default-src 'none'; {allowed}",
        "title": html.escape(redact(title)),
        "instead": html.escape(instead),
        "style": _part("style.css"),
        "data": embedded(data),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("frame.html"))


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element that contains it, whatever its content."""
    text = redact(json.dumps(data, separators=(",", ":"), allow_nan=False))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _part(name: str) -> str:
    return files("deit.pages").joinpath("parts", name).read_text(encoding="utf-8")

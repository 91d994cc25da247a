"""Text keys keep their spelling: ``name=2024_01_02`` is that text, although YAML and Hydra read 20240102.

Both guess a type before they know the key: ``1e3`` is a number to them, ``on`` a boolean, ``017`` an octal number. A key whose
schema type is text, and the name of an option, are taken as written; only null stays null.
"""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Sequence

import yaml

from deit.compose import groups, keys

# What Hydra could read as something other than text; quoting more changes nothing.
_GUESSED = re.compile(r"[+-]?(?:\.?\d[\d_.]*(?:e[+-]?\d[\d_]*)?|inf|nan)|true|false", re.I)
# The parts of a value: quoted text, functions of numbers, and what is between commas and brackets.
_PART = re.compile(
    r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?:range|interval|glob)\s*\([^)]*\)|(?:\\.|[^,\[\]{}()'"\\])+""", re.S
)
# Characters that Hydra's grammar rejects outside quotes.
_ODD = re.compile(r"[^\x00-\x7f]|[#~=;&!<>^`]")
_TEXT_TAG, _NULL_TAG = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"
# In templates these are overrides, written as text.
_OVERRIDES = ("hydra.sweeper.params", "hydra.sweeper.cases")


@functools.cache
def is_text(path: str) -> bool:
    """Whether ``path`` takes text or a list of texts: a text key, or a group."""
    found = keys.definitions().get(path)
    return path in groups.groups() if found is None else all(str in _plain_types(key.hint) for key in found)


def typed(override: str) -> str:
    """An override of a text key with quotes where Hydra would guess a type or fail to parse it."""
    key, equals, value = override.partition("=")
    if not equals or "${" in value or not is_text(key.lstrip("+").partition("@")[0]):
        return override
    is_call = "(" in value  # whose arguments may have names, with = between

    def quoted(part: re.Match[str]) -> str:
        bare = part[0].strip()
        quotes = _GUESSED.fullmatch(bare) or (not is_call and part[0][0] not in "'\"" and _ODD.search(bare))
        return part[0].replace(bare, f"'{bare}'") if quotes else part[0]

    return f"{key}={_PART.sub(quoted, value)}"


def retag(node: yaml.Node, package: str) -> None:
    """Tag the scalars of text keys below the root ``node`` as text; the file writes at ``package``."""
    _retag(node, package, under_root=True)


def _retag(node: yaml.Node, path: str, *, under_root: bool = False) -> None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if under_root and name.value == "defaults":
                _retag_all(value)
            elif name.value == "<<":
                _retag(value, path)
            else:
                _retag(value, f"{path}.{name.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _retag(value, path)
    elif path.startswith(_OVERRIDES) or (node.tag != _NULL_TAG and is_text(path)):
        node.tag = _TEXT_TAG


def _retag_all(node: yaml.Node) -> None:
    """Names of options."""
    children: Sequence[yaml.Node] = ()
    if isinstance(node, yaml.MappingNode):
        children = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    elif node.tag != _NULL_TAG:
        node.tag = _TEXT_TAG
    for child in children:
        _retag_all(child)


def _plain_types(hint: typing.Any) -> set[typing.Any]:
    arguments = typing.get_args(hint)
    return {kind for argument in arguments for kind in _plain_types(argument)} if arguments else {hint}

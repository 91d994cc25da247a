"""The dataclasses behind conf/ become nodes of OmegaConf when a composition uses them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from composition import freeze as freeze_typed
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore

from deit.compose import freeze, lazy_store


@dataclass
class Toy:
    a: int = 1


@pytest.fixture
def store() -> Iterator[ConfigStore]:
    """Hydra's store, which is as before at the end."""
    found = ConfigStore.instance()
    before = found.repo
    found.repo = {}
    yield found
    found.repo = before


def test_a_node_is_made_when_it_is_loaded(store: ConfigStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    structured = lazy_store.OmegaConf.structured
    monkeypatch.setattr(lazy_store.OmegaConf, "structured", lambda kind: (made.append(kind), structured(kind))[1])
    lazy_store.store("toy", Toy, group="x/y", provider="deit")
    lazy_store.store("other", Toy)
    assert made == []
    found = store.load("x/y/toy.yaml")
    assert (found.name, found.group, found.package, found.provider) == ("toy.yaml", "x/y", None, "deit")
    assert found.node == {"a": 1} and made == [Toy]
    found.node.a = 2
    lazy_store.store("toy", Toy, group="x/y", provider="deit")  # as in the next composition
    assert store.load("x/y/toy.yaml").node.a == 1 and made == [Toy]
    assert store.list("x/y") == ["toy.yaml"] and store.list("") == ["other.yaml", "x"]


def test_another_class_replaces_an_entry(store: ConfigStore) -> None:
    @dataclass
    class Other:
        b: int = 2

    for kind in (Toy, Other):
        lazy_store.store("toy", kind)
    assert store.load("toy.yaml").node == {"b": 2}


def test_a_composition_makes_only_the_nodes_of_its_options() -> None:
    freeze.register()
    stored = ConfigStore.instance().repo["schema"]["optim"]
    for entry in stored.values():
        entry.is_taken = False
    freeze_typed("experiment=quickstart", "optim=adamw", "seed=77")  # by no other test
    made = {name for name, entry in stored.items() if entry.is_taken}
    assert made == {"adamw.yaml"}


def test_the_store_is_not_copied_for_each_composition() -> None:
    freeze.register()
    source = SourcesRegistry.instance().resolve("structured")("schema", "structured://")
    assert copy.deepcopy(source) is source

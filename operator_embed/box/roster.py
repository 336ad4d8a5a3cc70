"""The AIModels that a leader knows, also found by what several of them share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from operator_embed.aimodel import AIModel

Index = defaultdict[str, dict[str, AIModel]]
"""AIModels by something that several may share, then by key."""


class Roster:
    """Every question costs as much as its answer is long: it is asked for each model, once a second and more often."""

    def __init__(self) -> None:
        self._models: dict[str, AIModel] = {}
        self._on: Index = defaultdict(dict)
        self._called: Index = defaultdict(dict)

    def __iter__(self) -> Iterator[str]:
        """All keys, in no order."""
        return iter(self._models)

    def __contains__(self, key: str) -> bool:
        return key in self._models

    def get(self, key: str) -> AIModel | None:
        return self._models.get(key)

    def sorted(self) -> list[AIModel]:
        """All of them by namespace and name."""
        return [self._models[key] for key in sorted(self._models)]

    def put(self, model: AIModel) -> None:
        """Know this model, in place of the one with its key."""
        self.drop(model.key)
        self._models[model.key] = model
        self._on[model.topic][model.key] = model
        for word in words(model):
            self._called[word][model.key] = model

    def drop(self, key: str) -> AIModel | None:
        """Forget a model; returns what was known."""
        if model := self._models.pop(key, None):
            _remove(self._on, model.topic, key)
            for word in words(model):
                _remove(self._called, word, key)
        return model

    @property
    def topics(self) -> dict[str, str]:
        """The topic of each AIModel by key."""
        return {key: model.topic for key, model in self._models.items()}

    def on(self, topic: str) -> Collection[AIModel]:
        """All that name this topic."""
        return self._on[topic].values() if topic in self._on else ()

    def owner(self, topic: str) -> AIModel | None:
        """The oldest on a topic: the one that scales on it."""
        return oldest(self.on(topic))

    def namesakes(self, model: AIModel) -> Iterable[AIModel]:
        """All that clients reach by a word by which they reach `model`, itself as well."""
        return {key: one for word in words(model) for key, one in self._called.get(word, {}).items()}.values()


def words(model: AIModel) -> set[str]:
    """What clients may call it."""
    return {model.name, model.spec.model}


def oldest(models: Iterable[AIModel]) -> AIModel | None:
    """Of those that are not being deleted."""
    alive = (model for model in models if model.deleted_s is None)
    return min(alive, key=lambda model: (model.created_s, model.key), default=None)


def _remove(index: Index, shared: str, key: str) -> None:
    del index[shared][key]
    if not index[shared]:
        del index[shared]

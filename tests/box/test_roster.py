"""Which AIModels share a queue or a name."""

from __future__ import annotations

from dataclasses import replace

from operator_embed.aimodel import AIModel, Spec
from operator_embed.box.roster import Roster


def named(name: str, model: str, created_s: float = 1.0) -> AIModel:
    return AIModel(namespace="default", name=name, spec=Spec(type="local", model=model), created_s=created_s)


def keys(models: object) -> set[str]:
    assert hasattr(models, "__iter__")
    return {model.key for model in models}


def test_the_oldest_that_stays_owns_a_topic() -> None:
    roster = Roster()
    for model in (named("young", "m", 3), named("old", "m", 1), named("other", "x", 0)):
        roster.put(model)
    assert keys(roster.on("model-m")) == {"default/young", "default/old"}
    old = roster.owner("model-m")
    assert old is not None
    assert old.name == "old"
    roster.put(replace(old, deleted_s=9.0))
    assert roster.owner("model-m") == roster.get("default/young")
    assert roster.owner("model-nobody") is None


def test_a_model_that_changed_its_topic_is_not_found_on_the_old_one() -> None:
    roster = Roster()
    roster.put(named("m", "old"))
    roster.put(named("m", "new"))
    assert not roster.on("model-old")
    assert keys(roster.on("model-new")) == {"default/m"}
    assert roster.topics == {"default/m": "model-new"}
    roster.drop("default/m")
    assert not roster.on("model-new")
    assert list(roster) == []


def test_namesakes_are_all_that_one_word_reaches() -> None:
    roster = Roster()
    asked = named("a", "b")
    for model in (asked, named("b", "c"), named("c", "a"), named("c-2", "d")):
        roster.put(model)
    assert keys(roster.namesakes(asked)) == {"default/a", "default/b", "default/c"}

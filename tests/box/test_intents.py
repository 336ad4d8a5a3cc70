"""What a user asks of a model of a box, and what is stored of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from operator_embed.aimodel import PAUSED, AIModel, Spec
from operator_embed.box.box_models import BoxModels
from operator_embed.box.home import Home
from operator_embed.box.store import Store
from operator_embed.fleet.fleet import FleetError, FleetView
from operator_embed.fleet.models import Scale

pytestmark = pytest.mark.anyio
KEY = "default/m"


@pytest.fixture
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory(prefix="up", dir="/tmp") as folder:
        opened = Store(Home(Path(folder) / "home"))
        opened.apply(AIModel(namespace="default", name="m", spec=Spec(type="local", model="m")))
        yield opened
        opened.close()


@pytest.fixture
def models(store: Store) -> BoxModels:
    return BoxModels(Path("/nowhere"), lambda: store, FleetView)


def held(store: Store) -> str | None:
    model = store.get(KEY)
    assert model is not None
    return model.annotation(PAUSED)


async def test_an_autoscaler_that_is_turned_off_and_on_again_is_not_held_by_an_old_wish(
    store: Store, models: BoxModels
) -> None:
    await models.scale(KEY, Scale(threshold=5))
    await models.scale(KEY, Scale(paused=True))
    assert held(store) == "0"
    await models.scale(KEY, Scale(threshold=0, replicas=2))
    assert held(store) is None
    await models.scale(KEY, Scale(threshold=5))
    assert held(store) is None


async def test_who_owns_the_number_is_said(store: Store, models: BoxModels) -> None:
    with pytest.raises(FleetError, match="no autoscaler runs"):
        await models.scale(KEY, Scale(paused=True))
    await models.scale(KEY, Scale(threshold=5, paused=True))
    assert held(store) == "0"
    with pytest.raises(FleetError, match="the autoscaler owns replicas"):
        await models.scale(KEY, Scale(replicas=2))
    await models.scale(KEY, Scale(paused=False))
    assert held(store) is None
    assert [event.message for event in store.events()] == [
        "autoscaler let go",
        "threshold unset to 5, autoscaler held",
    ]


async def test_what_was_applied_before_one_was_refused_is_said(store: Store, models: BoxModels) -> None:
    def text(*names: str) -> str:
        return "\n---\n".join(
            f"{{apiVersion: model.youxam.com/v1alpha1, kind: AIModel, metadata: {{name: {name}}},"
            f" spec: {{type: local, model: {name}}}}}"
            for name in names
        )

    store.delete(KEY)
    with pytest.raises(FleetError) as refused:
        await models.apply(text("a", "m", "b"))
    first, second = str(refused.value).splitlines()
    assert first.startswith("default/m: is being deleted")
    assert second == "applied before it: default/a (created)"
    assert [model.name for model in store.list()] == ["a", "m"]
    with pytest.raises(FleetError, match=r"\Adefault/m: is being deleted[^\n]*\Z"):
        await models.apply(text("m"))

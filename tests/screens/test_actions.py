"""Every action of the registry can be done somewhere: a key that does nothing is worse than none."""

from __future__ import annotations

import pytest
from textual.dom import DOMNode

from console.app import Console
from screens.actions import ACTIONS, BY_ID, Action, keymap
from screens.base import FleetScreen
from screens.chat import ChatScreen
from screens.edit import EditScreen
from screens.events import EventsScreen
from screens.gpus import GpusScreen
from screens.help import HelpScreen
from screens.logs import LogsScreen
from screens.model import ModelScreen
from screens.models import ModelsScreen
from screens.queues import QueuesScreen
from screens.replicas import ReplicasScreen
from screens.widgets.table import Table
from screens.yaml_text import YamlScreen

OWNERS: dict[str, tuple[type[DOMNode], ...]] = {
    "everywhere": (Console,),
    "table": (Table,),
    "model": (ModelsScreen, ModelScreen),
    "replica": (ReplicasScreen,),
    "gpu": (GpusScreen,),
    "queue": (QueuesScreen,),
    "event": (EventsScreen,),
    "logs": (LogsScreen,),
    "text": (YamlScreen,),
    "editor": (EditScreen,),
    "chat": (ChatScreen,),
}
SCREENS: tuple[type[FleetScreen], ...] = (
    ModelsScreen, ModelScreen, ReplicasScreen, GpusScreen, QueuesScreen, EventsScreen, LogsScreen, YamlScreen,
    EditScreen, ChatScreen, HelpScreen,
)  # fmt: skip


@pytest.mark.parametrize("action", [a for a in ACTIONS if a.scope in OWNERS], ids=lambda action: action.id)
def test_every_action_has_a_method_where_it_belongs(action: Action) -> None:
    assert [owner.__name__ for owner in OWNERS[action.scope] if not hasattr(owner, f"action_{action.verb}")] == []


@pytest.mark.parametrize("screen", SCREENS)
def test_every_hint_names_an_action(screen: type[FleetScreen]) -> None:
    assert [hint.id for hint in screen.HINTS if hint.id not in BY_ID] == []


def test_the_k9s_preset_moves_keys_onto_none_that_another_action_has() -> None:
    moved = keymap("k9s")
    keys = [(action.scope, key) for action in ACTIONS for key in moved.get(action.id, action.keys).split(",") if key]
    assert len(keys) == len(set(keys))
    beside_rows = {key for scope, key in keys if scope in {"everywhere", "model", "replica", "gpu", "queue", "event"}}
    assert not beside_rows & set(moved["table.sort_by"].split(","))

"""Every key of the console: bindings, footer, help, palette, command line and documents are made from this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from textual.binding import Binding, BindingType
from textual.keys import REPLACED_KEYS, key_to_character

Scope = Literal[
    "everywhere", "table", "model", "replica", "gpu", "queue", "event", "logs", "text", "editor", "chat", "dialog"
]
"""Where a key means what it means; one key means one thing in a scope."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
MANY_KEYS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing a user can do; `id` is `scope.verb`, is what key maps name, and never changes."""

    id: str
    keys: str
    """Textual key names, comma separated; the first is the one shown."""
    title: str
    help: str
    mutates: bool = False
    priority: bool = False
    """Known in dialogs and text fields as well."""
    k9s: str = ""
    """Keys in the preset `k9s`, where they are others; without any keys of its own an action is run by its name."""

    @property
    def scope(self) -> str:
        return self.id.partition(".")[0]

    @property
    def verb(self) -> str:
        return self.id.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Hint:
    """One entry of a screen's last line, which names its most used keys."""

    id: str
    title: str = ""
    """The action's own when empty."""
    wide: str = ""
    """Title where there is room; the short one when empty."""
    keys: str = ""
    """Where one entry stands for two actions: `< >`."""


ACTIONS = (
    Action(id="everywhere.command_line", keys="colon", title="go to",
           help="Go to a view or run a command, with completion."),
    Action(id="everywhere.command_palette", keys="ctrl+p", title="palette", help="The same actions, by name."),
    Action(id="everywhere.help", keys="question_mark", title="keys", help="Keys of this screen."),
    Action(id="everywhere.go_models", keys="1", title="Models", help="Models, where that view was left."),
    Action(id="everywhere.go_replicas", keys="2", title="Replicas", help="Replicas of all models."),
    Action(id="everywhere.go_gpus", keys="3", title="GPUs", help="GPUs and the processes on them."),
    Action(id="everywhere.go_queues", keys="4", title="Queues", help="Queues and dead letters."),
    Action(id="everywhere.go_events", keys="5", title="Events", help="What happened in the last seven days."),
    Action(id="everywhere.back", keys="escape", title="back",
           help="Close, then clear the filter, then the marks, then one level up; never quits."),
    Action(id="everywhere.leave", keys="q", title="quit",
           help="One level up; on a view: leave, which asks what happens to running models."),
    Action(id="everywhere.interrupt", keys="ctrl+c", title="copy or leave", priority=True,
           help="Copy a selection; with none, as q on a view; twice: leave, all keeps running."),
    Action(id="everywhere.focus_next", keys="tab", title="next panel", help="Next panel."),
    Action(id="everywhere.focus_previous", keys="shift+tab", title="previous panel", help="Previous panel."),
    Action(id="everywhere.pause", keys="P", title="pause", help="Pause the display, and go on."),
    Action(id="everywhere.save", keys="ctrl+s", title="save",
           help="Save what is on the screen: as text, as a picture, as objects."),
    Action(id="everywhere.allow_changes", keys="W", title="allow changes",
           help="Allow changes in a read-only context until the console is left; asks."),
    Action(id="everywhere.step_back", keys="comma", title="back in time",
           help="One step back in time; esc returns to now."),
    Action(id="everywhere.step_forward", keys="full_stop", title="forward in time",
           help="One step forward in time; esc returns to now."),
    Action(id="everywhere.reread", keys="ctrl+r", title="read again", help="Read all sources again now."),

    Action(id="table.move_down", keys="j,down", title="down", help="One row down."),
    Action(id="table.move_up", keys="k,up", title="up", help="One row up."),
    Action(id="table.move_first", keys="g,home", title="first", help="First row."),
    Action(id="table.move_last", keys="G,end", title="last", help="Last row."),
    Action(id="table.half_down", keys="ctrl+d", k9s="ctrl+f", title="half a page down", help="Half a page down."),
    Action(id="table.half_up", keys="ctrl+u", title="half a page up", help="Half a page up."),
    Action(id="table.page_down", keys="pagedown", title="page down", help="A page down."),
    Action(id="table.page_up", keys="pageup", title="page up", help="A page up."),
    Action(id="table.open", keys="enter", title="open", help="Open the row."),
    Action(id="table.filter", keys="slash", title="filter",
           help="Rows with a text; ! before it inverts, ~ is fuzzy, backlog>100 & ready<desired compares."),
    Action(id="table.only_faults", keys="exclamation_mark,ctrl+z", title="faults",
           help="Only rows that carry a mark ! ~ ?"),
    Action(id="table.sort", keys="o", title="sort", help="Sort by a column: then its letter, shown in the titles."),
    Action(id="table.sort_by", keys="", k9s="B,D,F,H,I,J,K,L,M,N,Q,S,T,U,V,Y,Z", title="sort by",
           help="Sort by the column that has this letter; again: reverse."),
    Action(id="table.reverse", keys="O", title="reverse", help="Reverse the order."),
    Action(id="table.mark", keys="space", title="mark", help="Mark the row; the next action takes all marked."),
    Action(id="table.mark_all", keys="A", title="mark all", help="Mark all rows shown."),
    Action(id="table.clear", keys="escape", title="clear", help="Clear the filter, then the marks."),
    Action(id="table.wide", keys="ctrl+w", title="wide", help="All columns, also those that do not fit."),
    Action(id="table.copy", keys="c", title="copy", help="Copy the name."),
    Action(id="table.detail", keys="v", title="detail", help="Detail pane on, off; it follows the cursor."),

    Action(id="model.describe", keys="d", title="describe", help="All about the model: the same screen as enter."),
    Action(id="model.yaml", keys="y", title="yaml", help="YAML as stored, secrets masked."),
    Action(id="model.edit", keys="e", title="edit", mutates=True, help="Edit here; a diff before it is applied."),
    Action(id="model.edit_outside", keys="E", title="$EDITOR", mutates=True,
           help="Edit in $EDITOR; a diff before it is applied."),
    Action(id="model.scale", keys="s", title="scale", mutates=True,
           help="Set the replicas, or the autoscaler's bounds, of this model."),
    Action(id="model.scale_up", keys="plus", title="one more", mutates=True,
           help="Scale with one more filled in; enter applies."),
    Action(id="model.scale_down", keys="minus", title="one less", mutates=True,
           help="Scale with one less filled in; enter applies."),
    Action(id="model.logs", keys="l", title="logs", help="Logs of all its replicas."),
    Action(id="model.previous_logs", keys="p", title="previous logs", help="Logs of the previous run."),
    Action(id="model.restart", keys="r", title="restart", mutates=True, help="Rolling restart; asks."),
    Action(id="model.test", keys="t", title="test", help="Send a prompt, watch it answer."),
    Action(id="model.why", keys="w", title="why", help="What is wrong, why, and what to do next."),
    Action(id="model.queue", keys="b", title="queue", help="Its queue."),
    Action(id="model.curl", keys="C", title="curl", help="Copy a curl line for it."),
    Action(id="model.add", keys="a", title="add", mutates=True, help="Add a model from a template."),
    Action(id="model.undo", keys="u", title="undo", mutates=True,
           help="Undo the last change of this model; shows the diff, asks."),
    Action(id="model.delete", keys="D", k9s="ctrl+d", title="delete", mutates=True, help="Delete; asks."),

    Action(id="replica.logs", keys="l", title="logs", help="Logs of the replica."),
    Action(id="replica.previous_logs", keys="p", title="previous logs", help="Logs of the previous run."),
    Action(id="replica.restart", keys="r", title="restart", mutates=True, help="Drain and start again; asks."),
    Action(id="replica.kill", keys="K", k9s="ctrl+k", title="kill", mutates=True, help="Kill now (SIGKILL); asks."),
    Action(id="replica.why", keys="w", title="why", help="Why it is in this state."),

    Action(id="gpu.move_down", keys="j,down", title="down", help="One GPU down."),
    Action(id="gpu.move_up", keys="k,up", title="up", help="One GPU up."),
    Action(id="gpu.zoom", keys="enter", title="zoom", help="This GPU alone, its graphs larger; again: all."),
    Action(id="gpu.metric", keys="m", title="metric",
           help="Metric of the graphs: utilisation, VRAM, power, heat."),
    Action(id="gpu.shorter", keys="less_than_sign", title="shorter span",
           help="Shorter span of the graphs: 1 h, 10 min, 2 min."),
    Action(id="gpu.longer", keys="greater_than_sign", title="longer span",
           help="Longer span of the graphs: 2 min, 10 min, 1 h."),
    Action(id="gpu.logs", keys="l", title="logs", help="Logs of the replica under the cursor."),
    Action(id="gpu.kill", keys="K", k9s="ctrl+k", title="kill", mutates=True,
           help="Kill the process under the cursor; asks."),
    Action(id="gpu.copy", keys="c", title="copy UUID", help="Copy the UUID of the GPU."),
    Action(id="gpu.detail", keys="v", title="detail", help="Detail pane on, off; it follows the cursor."),

    Action(id="queue.scale", keys="s", title="scale", mutates=True, help="Scale its model."),
    Action(id="queue.why", keys="w", title="why", help="Why its model is in this state."),
    Action(id="queue.requeue", keys="R", title="requeue", mutates=True, help="Requeue marked dead letters; asks."),
    Action(id="queue.discard", keys="D", k9s="ctrl+d", title="delete", mutates=True,
           help="Delete marked dead letters; asks."),
    Action(id="queue.purge", keys="X", title="purge", mutates=True,
           help="Purge what waits; wants the name typed."),

    Action(id="event.clock", keys="t", title="age or time", help="Age or clock time."),

    Action(id="logs.search", keys="slash", title="search", help="Search in the lines."),
    Action(id="logs.next_match", keys="n", title="next", help="Next match."),
    Action(id="logs.previous_match", keys="N", title="previous", help="Previous match."),
    Action(id="logs.follow", keys="f", k9s="s", title="follow", help="Follow on, off."),
    Action(id="logs.wrap", keys="w", title="wrap", help="Wrap long lines."),
    Action(id="logs.times", keys="t", title="times", help="Time stamps on, off."),
    Action(id="logs.level", keys="L", title="level", help="Least level shown: all, info, warning, error."),
    Action(id="logs.columns", keys="J", title="JSON", help="JSON lines as columns, as text."),
    Action(id="logs.since_shorter", keys="greater_than_sign", title="later start",
           help="Since: start, 1 h, 15 min, 1 min, now."),
    Action(id="logs.since_longer", keys="less_than_sign", title="earlier start",
           help="Since: now, 1 min, 15 min, 1 h, start."),
    Action(id="logs.since_now", keys="", k9s="0", title="since now", help="Only what comes from now on."),
    Action(id="logs.since_start", keys="", k9s="1", title="since start", help="All lines that are kept."),
    Action(id="logs.since_1_min", keys="", k9s="2", title="since 1 min", help="The last minute."),
    Action(id="logs.since_5_min", keys="", k9s="3", title="since 5 min", help="The last 5 minutes."),
    Action(id="logs.since_15_min", keys="", k9s="4", title="since 15 min", help="The last 15 minutes."),
    Action(id="logs.since_30_min", keys="", k9s="5", title="since 30 min", help="The last 30 minutes."),
    Action(id="logs.since_1_h", keys="", k9s="6", title="since 1 h", help="The last hour."),
    Action(id="logs.line", keys="m", title="line", help="Draw a line here."),
    Action(id="logs.clear", keys="C", title="clear", help="Clear the view, not the file."),
    Action(id="logs.previous", keys="p", title="previous run", help="The previous run, and back."),

    Action(id="text.search", keys="slash", title="search", help="Search in the text."),
    Action(id="text.next_match", keys="n", title="next", help="Next match."),
    Action(id="text.previous_match", keys="N", title="previous", help="Previous match."),
    Action(id="text.edit", keys="e", title="edit", mutates=True, help="Edit it."),

    Action(id="editor.check", keys="ctrl+s", title="check", help="Check, show the diff, apply on enter."),
    Action(id="editor.leave", keys="escape", title="leave", help="Leave; asks when something changed."),

    Action(id="chat.send", keys="enter", title="send", help="Send the prompt."),
    Action(id="chat.new_line", keys="ctrl+j", title="new line", help="A new line in the prompt."),
    Action(id="chat.stop", keys="escape", title="stop", help="Stop the answer; again: leave."),
    Action(id="chat.again", keys="ctrl+r", title="try again", help="Ask the last question again."),
    Action(id="chat.beside", keys="ctrl+o", title="second model",
           help="A second model beside it, asked the same; again: without it."),
    Action(id="chat.settings", keys="ctrl+t", title="settings", help="System prompt and temperature."),

    Action(id="dialog.apply", keys="enter", title="apply",
           help="Apply; never the default of a dangerous one: there it is y."),
    Action(id="dialog.cancel", keys="escape", title="cancel", help="Leave it as it is."),
    Action(id="dialog.yes", keys="y", title="yes", help="Yes, where something is lost."),
    Action(id="dialog.no", keys="n", title="no", help="No, where something is lost."),
    Action(id="dialog.next_field", keys="tab", title="next field", help="Next field."),
)  # fmt: skip

BY_ID = {action.id: action for action in ACTIONS}


def bindings(*scopes: Scope) -> list[BindingType]:
    """The bindings of one screen or widget; their ids are the actions' ids, so a key map can move each of them."""
    return [
        Binding(a.keys or unbound(a), a.verb, a.title, show=False, priority=a.priority, tooltip=a.help, id=a.id)
        for a in ACTIONS
        if a.scope in scopes
    ]


def unbound(action: Action) -> str:
    """A key that no terminal sends: Textual has no binding without one, and a key map can only move what there is."""
    return f"unbound:{action.id}"


def keymap(preset: str) -> Mapping[str, str]:
    """Keys by the id of an action, where a preset has others than the registry."""
    return {a.id: a.k9s for a in ACTIONS if a.k9s} if preset == "k9s" else {}


@cache
def mutating(scopes: tuple[Scope, ...]) -> frozenset[str]:
    """Verbs of these scopes that change something."""
    return frozenset(action.verb for action in ACTIONS if action.mutates and action.scope in scopes)


def keys_text(action: Action, keymap: Mapping[str, str]) -> str:
    """All keys of an action as people write them: `j down`; many letters are `shift+letter`; empty where none."""
    keys = [key for key in keymap.get(action.id, action.keys).split(",") if key]
    return "shift+letter" if len(keys) > MANY_KEYS else " ".join(map(key_text, keys))


def key_text(key: str) -> str:
    """A key as people write it: `enter`, `ctrl+d`, `?`, `D`; empty for one that cannot be pressed."""
    if key.startswith("unbound:"):
        return ""
    if key == "escape":
        return "esc"
    character = key_to_character(REPLACED_KEYS.get(key, key))
    return character if character and character.isprintable() and not character.isspace() else key

"""What can be typed after `:` besides actions: views, places and programs of the console."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from operator_embed.fleet.fleet import FleetError
from screens.actions import BY_ID
from screens.base import FleetApp, FleetScreen
from screens.command import CommandLine
from screens.format import plural
from screens.live import live_actions
from screens.names import model_names
from screens.widgets.filter import FilterError
from screens.widgets.table import Table

ALL = "all"
LOGS_OF_ROW = frozenset({"model.logs", "replica.logs", "gpu.logs"})


@dataclass(frozen=True, slots=True)
class Command:
    """One word, what it does, and what may follow it."""

    help: str
    run: Callable[[FleetApp, str], Awaitable[None]]
    """Gets what followed the word, or an empty text; raises `FleetError` when it cannot be done."""
    arguments: Callable[[FleetApp], Sequence[str]] = lambda _: ()


async def ask(app: FleetApp) -> None:
    """Ask for a line, and do on the screen below what it says."""
    live = live_actions(app.screen)
    known = {name: f"view {key}: {title}" for name, (key, title, _) in zip(views(app), app.VIEWS, strict=True)}
    known |= {word: command.help for word, command in COMMANDS.items()}
    known |= {id_: entry.action.help for id_, entry in live.items()}
    follow = {word: values for word, command in COMMANDS.items() if (values := command.arguments(app))}
    line = await app.push_screen_wait(CommandLine(known, follow))
    word, _, argument = line.partition(" ")
    try:
        if word in COMMANDS:
            await COMMANDS[word].run(app, argument.strip())
        elif line in views(app):
            app.go(line)
        elif word in views(app):
            await narrow(app, word, argument.strip())
        elif line in live:
            await live[line]()
        elif line:
            raise FleetError(why_not(app, line))
    except FleetError as refusal:
        app.notify(str(refusal), severity="error", markup=False)


def why_not(app: FleetApp, line: str) -> str:
    """Why a line that was typed does nothing."""
    action = BY_ID.get(line)
    if action is None:
        return f"no command {line}; : and tab list them"
    if action.mutates and app.read_only:
        return f"{line} changes something, and this console is read-only: W allows it"
    return f"{line} does nothing on this screen"


async def narrow(app: FleetApp, view: str, text: str) -> None:
    """Show of a view only the rows that match, or all of them for an empty text; raises `FleetError`."""
    if app.current_mode != view:
        await app.switch_mode(view)
    while len(app.screen_stack) > 1:
        await app.pop_screen()
    tables = app.screen.query(f"#{view}").results(Table)
    if not isinstance(screen := app.screen, FleetScreen) or (table := next(tables, None)) is None:
        raise FleetError(f":{view} takes no filter; {text} was left out")
    try:
        await screen.narrow(table, text)
    except FilterError as problem:
        raise FleetError(f"{text}: {problem}") from None


def views(app: FleetApp) -> Sequence[str]:
    """Names of the views, in their order."""
    return [action.removeprefix("go_") for _, _, action in app.VIEWS]


def models(app: FleetApp) -> Mapping[str, str]:
    """Keys of the models by what they are called here."""
    return {name: key for key, name in model_names(app.fleet.view().models).items()}


def replicas(app: FleetApp) -> Mapping[str, str]:
    """Keys of the models by the names of their replicas."""
    return {replica.key: replica.model for replica in app.fleet.view().replicas}


def namespaces(app: FleetApp) -> Sequence[str]:
    """Those that hold a model."""
    return sorted({model.namespace for model in app.fleet.view().models})


def no_such(what: str, name: str, there_is: Sequence[str]) -> FleetError:
    """One line for a name that is none."""
    return FleetError(f"no {what} {name}; there is {', '.join(there_is) if there_is else 'none'}")


async def view(app: FleetApp, name: str) -> None:
    if name in views(app):
        app.go(name)
    elif key := models(app).get(name):
        app.open_model(key)
    elif name:
        raise no_such("view or model", name, [*views(app), *models(app)])
    else:
        raise FleetError(":view NAME of a view or a model; tab completes it")


async def logs(app: FleetApp, name: str) -> None:
    from screens.logs import LogsScreen

    if key := models(app).get(name):
        app.push_screen(LogsScreen(app.fleet, key))
    elif key := replicas(app).get(name):
        app.push_screen(LogsScreen(app.fleet, key, replica=name))
    elif name:
        raise no_such("model or replica", name, list(models(app)))
    elif chosen := next((a for id_, a in live_actions(app.screen).items() if id_ in LOGS_OF_ROW), None):
        await chosen()
    else:
        raise FleetError(":logs NAME of a model or a replica; tab completes it")


async def dead(app: FleetApp, _: str) -> None:
    """One queue's dead letters; where several queues have some, those queues."""
    from screens.requests import RequestsScreen

    queues = [queue for queue in app.fleet.view().queues if queue.dead]
    if not queues:
        raise FleetError("no dead letters: no request was given up")
    if len(queues) == 1:
        app.push_screen(RequestsScreen(app.fleet, queues[0].key))
    else:
        await narrow(app, "queues", "dead>0")


async def context(app: FleetApp, _: str) -> None:
    shown = app.fleet.view().context
    led = "nobody leads it" if shown.leader_pid is None else f"pid {shown.leader_pid} leads it"
    app.notify(f"{shown.name} ({shown.kind}) is the only context; {led}", markup=False)


async def namespace(app: FleetApp, name: str) -> None:
    """Show one namespace, all of them, or say which there are."""
    there = namespaces(app)
    if not name:
        held = [sum(model.namespace == one for model in app.fleet.view().models) for one in there]
        said = ", ".join(f"{one} ({plural(count, 'model')})" for one, count in zip(there, held, strict=True))
        app.notify(f"{said or 'no model, no namespace'}; :ns NAME shows one, :ns {ALL} every one", markup=False)
        return
    if name not in there and name != ALL:
        raise no_such("model in namespace", name, there)
    await narrow(app, "models", "" if name == ALL else f"namespace={name}")


async def doctor(app: FleetApp, _: str) -> None:
    from screens.doctor import DoctorScreen

    app.push_screen(DoctorScreen(app.fleet))


async def theme(app: FleetApp, name: str) -> None:
    """Choose one, or take the one that was named."""
    if not name:
        app.search_themes()
    elif name in app.available_themes:
        app.theme = name
        app.notify(f'theme = "{name}" in config.toml keeps it', markup=False)
    else:
        raise no_such("theme", name, sorted(app.available_themes))


async def start(app: FleetApp, _: str) -> None:
    """Lead the box, where nobody does."""
    pid = app.fleet.view().context.leader_pid
    if pid is not None:
        raise FleetError(f"pid {pid} leads this box; there is nothing to start")
    if app.read_only:
        raise FleetError("read-only: W allows changes, then :start")
    app.lead()
    app.notify("starting: this console leads the box", markup=False)


async def leave(app: FleetApp, _: str) -> None:
    await app.run_action("quit")


COMMANDS: Mapping[str, Command] = {
    "dead": Command("dead letters", dead),
    "logs": Command("of a model or a replica", logs, lambda app: (*models(app), *replicas(app))),
    "ctx": Command("which context this is, and who leads it", context),
    "ns": Command("show one namespace, or all", namespace, lambda app: (*namespaces(app), ALL)),
    "doctor": Command("what works on this box, and what is missing", doctor),
    "theme": Command("colours", theme, lambda app: sorted(app.available_themes)),
    "view": Command("go to a view or a model", view, lambda app: (*views(app), *models(app))),
    "start": Command("lead this box, where nobody does", start),
    "q": Command("leave", leave),
}

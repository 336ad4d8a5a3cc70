"""The keys of a model, the same wherever one is chosen; each screen says which one that is."""

from __future__ import annotations

from collections.abc import Sequence

from textual import work

from operator_embed.fleet.fleet import FleetError
from operator_embed.fleet.models import Manifest, ModelView
from screens.base import FleetScreen
from screens.format import plural


class ModelActions(FleetScreen):
    """A screen on which a model is chosen."""

    def chosen_models(self) -> Sequence[ModelView]:
        """The models that a key is for: the one under the cursor, or all marked ones."""
        raise NotImplementedError

    @property
    def chosen_model(self) -> ModelView | None:
        """The first of them."""
        return next(iter(self.chosen_models()), None)

    def action_describe(self) -> None:
        if model := self.chosen_model:
            self.app.open_model(model.key)

    action_why = action_describe

    def action_queue(self) -> None:
        if model := self.chosen_model:
            self.app.open_queue(model.key)

    def action_yaml(self) -> None:
        from screens.yaml_text import YamlScreen

        if model := self.chosen_model:
            self.app.push_screen(YamlScreen(self.fleet, model.key))

    def action_edit(self) -> None:
        self._edit()

    def action_edit_outside(self) -> None:
        self._edit(outside=True)

    def _edit(self, *, outside: bool = False, field: str = "") -> None:
        from screens.edit import EditScreen

        if model := self.chosen_model:
            self.app.push_screen(EditScreen(self.fleet, model.key, outside=outside, field=field))

    def action_scale(self) -> None:
        self._scale(0)

    def action_scale_up(self) -> None:
        self._scale(1)

    def action_scale_down(self) -> None:
        self._scale(-1)

    @work
    async def _scale(self, step: int) -> None:
        from screens.scale import Edit, ScaleDialog

        if (model := self.chosen_model) is None:
            return
        answer = await self.app.push_screen_wait(ScaleDialog(self.fleet.models, model, step=step))
        if isinstance(answer, Edit):
            self._edit(field=answer.field)
        elif answer is not None:
            await self.intend(self.fleet.models.scale(model.key, answer))

    def action_logs(self) -> None:
        self._logs()

    def action_previous_logs(self) -> None:
        self._logs(previous=True)

    def _logs(self, *, previous: bool = False) -> None:
        from screens.logs import LogsScreen

        if model := self.chosen_model:
            self.app.push_screen(LogsScreen(self.fleet, model.key, previous=previous))

    def action_test(self) -> None:
        from screens.chat import ChatScreen

        if model := self.chosen_model:
            self.app.push_screen(ChatScreen(self.fleet, model.key))

    def action_curl(self) -> None:
        """A line that a shell runs as it is."""
        if model := self.chosen_model:
            self.app.copy_to_clipboard(curl_line(self.fleet.requests.base_url, model.model))
            self.notify(f"copied: curl for {model.name}", markup=False, timeout=2)

    @work
    async def action_restart(self) -> None:
        from screens.confirm import ConfirmDialog

        if not (models := self.chosen_models()):
            return
        question = ConfirmDialog(
            f"Restart {names(models)}",
            "Replaces its replicas one after the other; requests in flight are finished first, queued ones wait.",
            verb="restart",
            keep="leave it",
            loses=False,
        )
        if await self.app.push_screen_wait(question):
            for model in models:
                await self.intend(self.fleet.models.restart(model.key))

    @work
    async def action_delete(self) -> None:
        from screens.delete import DeleteDialog

        if not (models := self.chosen_models()):
            return
        if await self.app.push_screen_wait(DeleteDialog(models, self.view.context.name)):
            for model in models:
                await self.intend(self.fleet.models.delete(model.key))

    @work
    async def action_add(self) -> None:
        from screens.add import AddDialog
        from screens.edit import EditScreen

        if template := await self.app.push_screen_wait(AddDialog(self.app.sample)):
            self.app.push_screen(EditScreen(self.fleet, "", text=template.yaml))

    @work
    async def action_undo(self) -> None:
        """Offer what was before the last change as an edit, which shows the diff and asks."""
        from screens.edit import EditScreen

        if (model := self.chosen_model) and (before := await self._previous(model.key)):
            self.app.push_screen(EditScreen(self.fleet, model.key, text=before.yaml, check=True))

    async def _previous(self, key: str) -> Manifest | None:
        try:
            return await self.fleet.models.previous(key)
        except FleetError as refusal:
            self.notify(str(refusal), severity="error", markup=False)
            return None


def names(models: Sequence[ModelView]) -> str:
    """`qwen3-32b`, or `3 models`."""
    return models[0].name if len(models) == 1 else plural(len(models), "model")


def curl_line(base_url: str, model: str) -> str:
    """A request that streams an answer of the model."""
    body = f'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return f"curl -N {base_url}/chat/completions -H 'Content-Type: application/json' -d '{body}'"

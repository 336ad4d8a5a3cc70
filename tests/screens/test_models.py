"""The main screen, by what reaches the eye."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.app import Console
from operator_embed.fleet.fleet import ContextView, FleetView
from operator_embed.fleet.gpus import GpuPanel
from operator_embed.fleet.models import ModelView, State
from screens.models import ModelsScreen
from screens.widgets.table import Table
from tests.fleet import NOW_S, StillFleet, failure, gpu, model, painted, shows, source, until
from tests.screens import example

pytestmark = pytest.mark.anyio


def table(app: Console) -> Table[ModelView]:
    found: Table[ModelView] = app.screen.query_one("#models", Table)
    return found


def line(app: Console, text: str) -> str:
    """The first painted line that holds `text`."""
    return next(line for line in painted(app) if text in line)


async def test_cursor_stays_on_its_model_when_rows_move() -> None:
    fleet = StillFleet(model("bge-m3"), model("qwen3-32b"))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j")
        fleet.show(model("a-new-one"), model("bge-m3"), model("qwen3-32b", version=2, backlog=412))
        await shows(pilot, "412")
        assert table(app).cursor == "default/qwen3-32b"


async def test_age_moves_while_the_version_stands_still() -> None:
    fleet = StillFleet(model("bge-m3", created_s=NOW_S - 59))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "59s")
        fleet.show(at_s=NOW_S + 1)
        await shows(pilot, " 1m")


async def test_text_from_outside_is_only_text() -> None:
    hostile = ("x[/b]y", "模型🙂模型🙂模型🙂模型🙂", "שלום-עולם", "[link=http://x]z")
    fleet = StillFleet(
        *(model(name, failure="[red]", failure_s=NOW_S) for name in hostile),
        failures=(failure("x[/b]y", "[/]", "gone [bold"),),
    )
    for size in ((60, 14), (160, 50)):
        async with Console(fleet).run_test(size=size) as pilot:
            await shows(pilot, "x[/b]y")
            await shows(pilot, "[/]")
            await pilot.press("s", "escape", "slash", "[", "/", "enter")
            await shows(pilot, "x[/b]y")


async def test_a_filter_compares_and_escape_shows_all_again() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"backlog>10 & ready<desired", "enter")
        await shows(pilot, "2 shown")
        assert [row.key for row in table(app).rows] == ["default/qwen3-32b", "default/whisper-large-v3"]
        await pilot.press("escape")
        await shows(pilot, "codestral")
        assert not any("shown" in painted_line for painted_line in painted(app))


async def test_a_filter_that_matches_none_says_so_and_how_to_get_back() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"backlog>1000", "enter")
        await shows(pilot, "No model matches backlog>1000.  esc shows all 18")


async def test_a_wrong_filter_says_what_there_is() -> None:
    async with Console(example.fleet()).run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"vrum>3")
        await shows(pilot, "no column vrum; there is vram")


async def test_only_faults_shows_rows_with_a_mark() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("exclamation_mark")
        await shows(pilot, "! 4 with a mark shown   esc show all")
        assert len(table(app).rows) == 4
        await pilot.press("escape")
        await until(pilot, lambda: len(table(app).rows) == 18)
        assert not any("shown" in text for text in painted(app))


async def test_a_model_with_dead_letters_carries_a_mark() -> None:
    fleet = StillFleet(model("bge-m3"), model("qwen3", dead=2))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "2 models  ~ 1")
        assert line(app, "qwen3").startswith(" ~")


async def test_the_filter_line_follows_the_rows_and_says_that_only_faults_are_shown() -> None:
    fleet = StillFleet(model("qwen3", backlog=5), model("bge-m3", backlog=5), model("qwen2"))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"backlog>1", "enter")
        await shows(pilot, "2 shown")
        fleet.show(model("qwen3", backlog=5, state=State.FAILED, version=2), model("bge-m3"), model("qwen2"))
        await shows(pilot, "1 shown")
        await pilot.press("exclamation_mark")
        await shows(pilot, "1 with a mark shown")
        await pilot.press("slash", "escape")
        await until(pilot, lambda: len(table(app).rows) == 3)


async def test_o_and_a_letter_sort_and_o_reverses() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("o", "b")
        await shows(pilot, "BACKLOG↓")
        assert painted(app)[3].split()[1] == "qwen3-32b"
        await pilot.press("O")
        await shows(pilot, "BACKLOG↑")
        assert "qwen3-32b" in painted(app)[20]


async def test_choosing_a_column_swallows_a_key_that_means_something_else() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("o", "s")
        await shows(pilot, "STATE ↓")
        assert isinstance(app.screen, ModelsScreen)


async def test_marked_rows_carry_a_star_until_escape() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("space", "space")
        await shows(pilot, "*z codestral-22b")
        assert [row.key for row in table(app).chosen] == ["default/bge-m3", "default/codestral-22b"]
        await pilot.press("escape")
        await until(pilot, lambda: not any(text.startswith("*") for text in painted(app)))


async def test_a_click_selects_a_second_one_opens_and_one_on_a_title_sorts() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.click("#models", offset=(5, 3))
        assert table(app).cursor == "default/deepseek-r1-14b"
        await pilot.click("#models", offset=(50, 0))
        await shows(pilot, "BACKLOG↓")
        await pilot.click("#models", offset=(5, 1))
        await pilot.click("#models", offset=(5, 1))
        await until(pilot, lambda: not isinstance(app.screen, ModelsScreen))


async def test_wide_shows_every_column_beyond_the_edge() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(80, 24)) as pilot:
        assert "ENGINE" not in line(app, "NAME")
        await pilot.press("ctrl+w")
        await shows(pilot, "ENGINE")
        await pilot.press(*["right"] * 16)
        await shows(pilot, "LAST FAILURE")
        await pilot.press("ctrl+w")
        await until(pilot, lambda: "ENGINE" not in line(app, "NAME"))


async def test_a_narrow_first_run_says_where_models_run() -> None:
    fleet = StillFleet(sources=example.SOURCES, gpu_panel=example.NO_GPU, host=example.HOST)
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "GPU     no NVIDIA driver: models run on the CPU")


async def test_toasts_stand_over_rows_and_not_over_failures() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "Failures  5 now")
        for number in range(9):
            app.notify(f"news {number}")
        await shows(pilot, "news 8")
        assert sum("news" in text for text in painted(app)) == 3
        assert not any("news" in text for text in painted(app)[9:])


async def test_first_run_offers_the_one_key_that_matters() -> None:
    fleet = StillFleet(sources=example.SOURCES, gpu_panel=example.NO_GPU, host=example.HOST)
    app = Console(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "No models yet.")
        await shows(pilot, "ok  queue      nats on 127.0.0.1:41873")
        await shows(pilot, "ok  llama      xllamacpp")
        await shows(pilot, " a add   : go to   ? keys   q quit")
        fleet.show(model("smollm2"))
        await shows(pilot, "enter open   s scale")
        await pilot.press("j")
        assert table(app).has_focus


async def test_while_the_store_is_read_nothing_is_said_about_models() -> None:
    fleet = StillFleet(sources=(source("store", ".."), source("queue", "..", "starting")))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "..  store")
        assert not any("No models yet" in text for text in painted(app))


async def test_a_topic_that_two_models_share_counts_once() -> None:
    shared = [model(name, topic="model-x", backlog=40, req_s=0.0) for name in ("a", "b")]
    async with Console(StillFleet(*shared)).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "backlog 40 ")


async def test_zero_unknown_not_applicable_and_stale_look_different() -> None:
    fleet = StillFleet(
        model("zero"),
        model("unknown", backlog=None, queued=None, req_s=None, tok_s=None),
        model("embeds", generates=False, tok_s=0.0),
        model("stale", backlog=412, oldest_s=38.0, queue_stale=True),
        gpus=(gpu(0),),
    )
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "stale")
        figures = {name: line(app, f" {name} ").split()[3:7] for name in ("zero", "unknown", "embeds", "stale")}
        assert figures == {
            "zero": ["0", "-", "0", "0"],
            "unknown": ["?", "?", "?", "?"],
            "embeds": ["0", "-", "0", "-"],
            "stale": ["412?", "38s?", "0", "0"],
        }
        await shows(pilot, "backlog 412?")


async def test_silent_store_takes_only_its_own_figures() -> None:
    fleet = StillFleet(model("m", ready=1, desired=2, backlog=412, oldest_s=38.0, trend=1, store_stale=True))
    async with Console(fleet).run_test(size=(80, 24)) as pilot:
        await shows(pilot, " ? m")
        await shows(pilot, " 1/2? Running?      412▲    38s ")


async def test_trouble_is_in_the_head_and_costs_a_narrow_screen_the_kind() -> None:
    down = ContextView(name="gpu-01", headline="QUEUE DOWN 14s", tone="error")
    app = Console(StillFleet(model("m"), context=down))
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "gpu-01 · QUEUE DOWN 14s")
        await pilot.resize_terminal(120, 40)
        await shows(pilot, "gpu-01 · box · QUEUE DOWN 14s   22:13:20")


async def test_read_only_context_offers_no_change() -> None:
    app = Console(StillFleet(model("m"), read_only=True))
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "enter open   l logs   y yaml   w why")
        await pilot.press("s", "D", "e", "r")
        assert isinstance(app.screen, ModelsScreen)


async def test_a_read_only_console_allows_changes_when_it_is_asked_to() -> None:
    app = Console(StillFleet(model("m")), read_only=True)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "gpu-01 · box · READ-ONLY   22:13:20")
        await shows(pilot, ": go to   W allow changes   ? keys   q quit")
        await pilot.press("colon", *"model.scale", "enter")
        await shows(pilot, "model.scale changes something, and this console is")
        await pilot.press("W")
        await shows(pilot, "Allow changes in gpu-01")
        await pilot.press("enter")
        await shows(pilot, "gpu-01 · box · live   22:13:20")
        await shows(pilot, "enter open   s scale")
        assert not any("allow changes" in line for line in painted(app))
        await pilot.press("s")
        await shows(pilot, "Scale m")


async def test_a_narrow_read_only_console_still_says_how_to_change_that() -> None:
    async with Console(StillFleet(model("m")), read_only=True).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "gpu-01 · READ-ONLY")
        await shows(pilot, "enter open  l logs  y yaml  w why  / filter  : go to  W allow changes  ? keys")


async def test_trouble_is_said_before_read_only() -> None:
    down = ContextView(name="gpu-01", headline="QUEUE DOWN 14s", tone="error")
    app = Console(StillFleet(model("m"), context=down), read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "gpu-01 · box · QUEUE DOWN 14s · READ-ONLY   22:13:20")
        await pilot.resize_terminal(80, 24)
        await shows(pilot, "gpu-01 · QUEUE DOWN 14s")


async def test_paused_display_stands_still_and_says_since_when() -> None:
    fleet = StillFleet(model("m"))
    app = Console(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("P")
        await shows(pilot, "PAUSED 22:13:20")
        fleet.show(model("m", version=2, backlog=77), at_s=NOW_S + 60)
        await pilot.press("2", "1")
        assert not any("77" in text for text in painted(app))
        await pilot.press("P")
        await shows(pilot, "77")


async def test_without_gpus_the_panel_shows_cpu_and_why() -> None:
    fleet = StillFleet(model("smollm2", busy_pct=70.0), gpu_panel=example.NO_GPU, host=example.HOST)
    fleet.histories = example.HISTORIES
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "CPU  no NVIDIA GPU: libnvidia-ml.so.1 not found")
        await shows(pilot, "CPU 72 %  RAM 21.4/64.0 GiB")
        await shows(pilot, " 72 %  AMD EPYC 7B13, 16 cores")
        await shows(pilot, "smollm2  11.2 cores, 0.4 GiB")
        await shows(pilot, "TOK/S CPU%")


async def test_gpu_trouble_is_said_in_words() -> None:
    panel = GpuPanel(source="nvml", notice="driver changed 580.95 to 590.12, reading again in 4s", warning=True)
    lost = replace(example.GPUS[2], lost="Xid 79, fell off the bus", util_pct=None, throttle="")
    fleet = example.fleet(replace_view(example.BUSY, gpus=(*example.GPUS[:2], lost, example.GPUS[3]), gpu_panel=panel))
    async with Console(fleet).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "GPUs  ~ driver changed 580.95 to 590.12, reading again in 4s")
        await shows(pilot, "2  ! lost  Xid 79, fell off")


@pytest.mark.parametrize(
    ("number", "size"), [(1, (80, 24)), (6, (120, 40)), (8, (80, 24)), (16, (120, 40)), (3, (200, 60))]
)
async def test_any_number_of_gpus_fits(number: int, size: tuple[int, int]) -> None:
    gpus = tuple(gpu(index, util_pct=50.0, used_mib=40_960.0) for index in range(number))
    app = Console(StillFleet(model("m"), gpus=gpus))
    async with app.run_test(size=size) as pilot:
        await shows(pilot, f"{number} x ")
        await shows(pilot, "50 %")
        assert all(len(text) <= size[0] for text in painted(app))


async def test_a_failure_opens_its_model() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("tab", "enter")
        await shows(pilot, "Models > whisper-large-v3")


@pytest.mark.parametrize("view", "123")
async def test_any_size_is_survived(view: str) -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(60, 14)) as pilot:
        await pilot.press(view)
        for size in ((40, 10), (20, 5), (200, 60), (120, 40)):
            await pilot.resize_terminal(*size)
        await shows(pilot, "qwen3-32b")


async def test_states_have_their_marks_and_words() -> None:
    fleet = StillFleet(
        model("runs"),
        model("loads", state=State.PENDING, progress="Load 62%"),
        model("short", degraded="NothingFits"),
        model("failed", state=State.FAILED, degraded="CrashLoopBackOff"),
        model("idle", state=State.IDLE),
        model("off", state=State.STOPPED),
    )
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "runs")
        marks = {text[3:8].strip(): (text[1], text[29:40].strip()) for text in painted(app)[3:9]}
        assert marks == {
            "failed"[:5]: ("!", "Failed"),
            "idle": ("z", "Idle"),
            "loads": ("~", "Load 62%"),
            "off": ("z", "Stopped"),
            "runs": (" ", "Running"),
            "short": ("~", "Degraded"),
        }


def replace_view(view: FleetView, **fields: object) -> FleetView:
    """A view with other fields; views compare by identity, so they are made anew."""
    return FleetView(**{**{name: getattr(view, name) for name in FleetView.__dataclass_fields__}, **fields})


async def test_wide_says_what_one_line_can() -> None:
    app = Console(example.fleet())
    async with app.run_test(size=(200, 50)) as pilot:
        await shows(pilot, "RESTARTS")
        titles = line(app, "RESTARTS").split()
        assert {"TYPE", "MODEL", "MIN-MAX", "VRAM", "FLIGHT", "1ST", "p95", "KV", "%", "RESTARTS"} <= set(titles)
        qwen = line(app, "qwen3-32b ")
        assert all(text in qwen for text in ("Qwen/Qwen3-32B-AWQ", " 1-2 ", " 73.6 ", " 16/16 ", " 6.2s ", " 97 "))
        assert line(app, "bge-m3 ").split()[-3:] == ["-", "0", "9d"]


async def test_what_tells_rows_apart_is_shown_when_there_is_more_than_one() -> None:
    fleet = StillFleet(model("m"), model("n"))
    app = Console(fleet)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "NAME ↓")
        assert "NAMESPACE" not in line(app, "NAME ↓")
        fleet.show(model("m", namespace="a"), model("m", key="b/m", namespace="b"))
        await shows(pilot, "NAMESPACE")
        assert " a          m " in painted(app)[3]
        fleet.show(model("m", context="prod-eu"), model("m", key="eu/m", context="prod-us"))
        await shows(pilot, "CONTEXT")
        assert "prod-eu" in painted(app)[3]
        fleet.show(model("m"))
        await until(pilot, lambda: not any("CONTEXT" in text for text in painted(app)))


async def test_a_silent_store_marks_what_it_told_and_the_queue_goes_on() -> None:
    silent = model("qwen3-32b", ready=1, desired=2, degraded="NothingFits", backlog=412, trend=1, oldest_s=38.0,
                   busy_pct=99.0, on_gpu=True, req_s=2.9, tok_s=1_180.0, store_stale=True)  # fmt: skip
    app = Console(StillFleet(silent, gpus=(gpu(0),)))
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "1/2? Degraded?     412▲")
        assert line(app, "qwen3-32b").startswith(" ? qwen3-32b")
        assert " 38s   2.9   1180  99?   1h" in line(app, "qwen3-32b")


async def test_when_nobody_is_heard_every_figure_says_so() -> None:
    unheard = model("m", backlog=412, oldest_s=38.0, in_flight=3, slots=4, busy_pct=99.0, on_gpu=True, vram_mib=1_024.0,
                    kv_pct=50.0, ttft_p95_s=0.5, req_s=2.9, tok_s=1_180.0, store_stale=True,
                    queue_stale=True)  # fmt: skip
    app = Console(StillFleet(unheard, gpus=(gpu(0),)))
    async with app.run_test(size=(200, 50)) as pilot:
        await shows(pilot, "1/1? Running?")
        told = line(app, "1/1?").split()
        for figure in ("412?", "3/4?", "38s?", "2.9?", "1180?", "0.5s?", "99?", "1.0?", "50?"):
            assert figure in told


async def test_a_silent_sampler_marks_what_it_measured() -> None:
    held = model("m", busy_pct=99.0, busy_stale=True, on_gpu=True)
    fleet = StillFleet(held, gpus=(gpu(0),))
    app = Console(fleet)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, " 99? ")
        assert "  m " in line(app, " 99? ")
        fleet.show(replace(held, version=2, on_gpu=False), gpus=(), host=replace(example.HOST, cpu_pct=8.0),
                   gpu_panel=replace(example.NO_GPU, stale=True))  # fmt: skip
        await shows(pilot, "CPU 8? %")

"""The parts of a box that work or do not, in words for somebody who has just installed it."""

from __future__ import annotations

from collections.abc import Mapping

from operator_embed.box.facts import Facts
from operator_embed.fleet.fleet import SourceView
from worker_embed.engines.llama_build import LlamaBuild
from worker_embed.gpu.samples import ASKING, NO_GPU
from worker_embed.process.spec import Phase, ProcessState


def sources(facts: Facts, processes: Mapping[str, ProcessState]) -> tuple[SourceView, ...]:
    """In the order in which a request needs them."""
    queue_status, queue_text = _child(processes.get("nats-server"), f"nats on {facts.queue_text}")
    reach = "other machines may reach it" if facts.api_is_open else "loopback only"
    api_status, api_text = _child(processes.get("gateway"), f"{facts.api_url}   no token needed, {reach}")
    gpu_status, gpu_text = _gpu(facts)
    return (
        SourceView(
            key="store",
            version=0,
            status="!" if facts.store_trouble else "ok",
            text=facts.store_trouble or facts.store_text,
        ),
        SourceView(key="queue", version=0, status=queue_status, text=queue_text),
        SourceView(key="API", version=0, status=api_status, text=api_text),
        engine(facts.llama),
        SourceView(key="GPU", version=0, status=gpu_status, text=gpu_text),
    )


def engine(build: LlamaBuild | None) -> SourceView:
    """What can run models here."""
    status, text = _llama(build)
    return SourceView(key="llama", version=0, status=status, text=text)


def _llama(build: LlamaBuild | None) -> tuple[str, str]:
    if build is None:
        return "..", "asking what it can do"
    if not build.version:
        return "-", "not installed: pip install xllamacpp"
    if build.trouble:
        return "!", f"xllamacpp {build.version} does not run: {build.trouble}"
    gpus = len(build.gpus)
    on = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "CPU only"
    return "ok", f"xllamacpp {build.version}, {on}"


def _child(state: ProcessState | None, text: str) -> tuple[str, str]:
    if state is None or state.phase is Phase.STARTING:
        return "..", text
    if state.phase is Phase.READY:
        return ("ok", text) if state.silent_s is None else ("!", "runs and does not answer")
    last = next((line for line in reversed(state.stderr_tail) if line.strip()), "")
    return "!", last or state.exit or state.phase


def _gpu(facts: Facts) -> tuple[str, str]:
    sample = facts.telemetry.sample
    if sample is None or (sample.notice == ASKING and not sample.gpus):
        return "..", "reading"
    if sample.gpus and not sample.notice:
        return "ok", f"{len(sample.gpus)} x {sample.gpus[0].name}, driver {sample.driver}"
    if sample.gpus or not sample.notice.startswith(NO_GPU):
        return "!", sample.notice
    return "-", f"{sample.notice}: models run on the CPU"

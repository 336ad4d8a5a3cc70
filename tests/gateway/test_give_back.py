"""An attempt that its worker gives back was none: it does not count and holds up nobody."""

from __future__ import annotations

from console.gateway.config import Limits
from console.gateway.node import Node
from console.gateway.pending import Pending
from tests.gateway.harness import MODEL
from worker_embed.wire import Answer, FromNode, GiveBack, Start, Verdict


def test_attempts_that_were_given_back_do_not_wear_a_request_out() -> None:
    node = Node(Limits(), max_attempts=3)
    pending = Pending("r1", MODEL, stream=True, now_s=0.0, timeout_s=300.0, soft_bytes=1000, hang_up=lambda: None)
    node.expect(pending)
    heard: list[FromNode] = []
    for number in range(10):
        link = node.connect(heard.append)
        link.receive(Start("r1", f"uid-{number}", 1))
        link.receive(GiveBack(f"uid-{number}"))
    assert heard == [Answer(f"uid-{number}", Verdict.GO) for number in range(10)]
    assert pending.starts == 0
    assert not pending.over

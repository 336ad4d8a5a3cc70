"""Models to start from: a filled text for the editor, and what it is good for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NO_SAMPLE = "not here: `make run` in a checkout fetches it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One way to add a model."""

    key: str
    """The letter that chooses it."""
    title: str
    hint: str
    yaml: str


def templates(sample: Path | None) -> tuple[Template, ...]:
    """All of them; `sample` is where the sample's weights are, if they are here."""
    source = json.dumps(str(sample)) if sample else f"/path/to/smollm2.gguf   # {NO_SAMPLE}"
    hint = "SmolLM2 135M, 98 MB, runs on this CPU" if sample else NO_SAMPLE
    return (Template(key="s", title="sample", hint=hint, yaml=SAMPLE.format(source=source)), *OWN)


SAMPLE = """\
# SmolLM2 135M Instruct (Apache-2.0): small, real, runs on any CPU.
apiVersion: model.youxam.com/v1alpha1
kind: AIModel
metadata:
  name: smollm2
spec:
  type: local
  model: smollm2          # the name that clients ask for
  engine: llama
  source: {source}
  replicas: 1
  contextLength: 2048     # tokens per request
  parallel: 4             # requests at once per replica
"""

OWN = (
    Template(
        key="g",
        title="GGUF file",
        hint="weights on this machine, run by llama.cpp",
        yaml="""\
apiVersion: model.youxam.com/v1alpha1
kind: AIModel
metadata:
  name: my-model          # lower case letters, digits and dashes
spec:
  type: local
  model: my-model         # the name that clients ask for
  engine: llama
  source: /path/to/model.gguf
  replicas: 1
  contextLength: 8192     # tokens per request
  parallel: 2             # requests at once per replica
  # minReplicas: 1        # with the next two lines the backlog decides how many run
  # maxReplicas: 2
  # msgBacklogThreshold: 100
""",
    ),
    Template(
        key="r",
        title="remote API",
        hint="any OpenAI-compatible address",
        yaml="""\
apiVersion: model.youxam.com/v1alpha1
kind: AIModel
metadata:
  name: gpt-4o-mini       # lower case letters, digits and dashes
spec:
  type: remote
  model: gpt-4o-mini      # the name that clients ask for, and that the other side knows
  baseURL: https://api.openai.com/v1
  apiKeyFrom: {env: OPENAI_API_KEY}   # read once, kept in a file that only you can read
  replicas: 1
  maxProcessNum: 16       # requests at once per replica
""",
    ),
)

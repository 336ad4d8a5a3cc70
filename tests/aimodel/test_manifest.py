from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operator_embed.aimodel import AIModel, Condition, Engine, Spec, Status
from operator_embed.manifest import ManifestError, Parsed, diff, parse, render, to_manifest_dict
from operator_embed.schema import MASK, from_fields, to_fields
from tests.aimodel.specs import models, specs

ROOT = Path(__file__).parents[2]

ORIGINAL = """\
apiVersion: model.youxam.com/v1alpha1
kind: AIModel
metadata:
  labels:
    app.kubernetes.io/name: aimodel
    app.kubernetes.io/managed-by: kustomize
  name: aimodel-sample
spec:
  type: remote
  model: gpt-4o-mini
  replicas: 3
  image: youxam/uplion-aimodel-operator-test-worker:latest
  baseURL: https://api.openai.com/v1
  apiKey: sk-secret
  maxProcessNum: 128
  msgBacklogThreshold: 200
"""


def text(spec: str = "", name: str = "m", head: str = "") -> str:
    return (
        f"{head}apiVersion: model.youxam.com/v1alpha1\nkind: AIModel\nmetadata:\n  name: {name}\n"
        f"spec:\n  type: local\n  model: m\n{spec}"
    )


def one(source: str, base_dir: str = "/") -> Parsed:
    [parsed] = parse(source, base_dir=base_dir)
    return parsed


def refusal(source: str) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as error:
        parse(source, base_dir="/")
    assert str(error.value).isprintable()
    return error.value.errors


def test_the_original_yaml_loads_unchanged() -> None:
    model = one(ORIGINAL).model
    assert model.key == "default/aimodel-sample"
    assert model.spec == Spec(
        type="remote",
        model="gpt-4o-mini",
        replicas=3,
        image="youxam/uplion-aimodel-operator-test-worker:latest",
        base_url="https://api.openai.com/v1",
        api_key="sk-secret",
        max_process_num=128,
        msg_backlog_threshold=200,
    )
    assert dict(model.labels)["app.kubernetes.io/name"] == "aimodel"


def test_the_shipped_sample_is_valid_and_its_path_absolute() -> None:
    [sample] = parse((ROOT / "assets/samples/smollm2.yaml").read_text(), base_dir=ROOT / "assets/samples")
    assert sample.warnings == ()
    assert sample.model.spec.source == str(ROOT / "assets/models/smollm2-135m-instruct-q4_1.gguf")


def test_our_fields() -> None:
    spec = one(
        text(
            "  engine: llama\n  source: w.gguf\n  contextLength: 4096\n  parallel: 8\n  gpus: [GPU-1a, GPU-2b]\n"
            "  msgBacklogThreshold: 100\n  minReplicas: 0\n  maxReplicas: 4\n  cooldownSeconds: 60\n"
            "  apiKeyFrom: {file: key}\n"
        ),
        base_dir="/srv/models",
    ).model.spec
    assert (spec.engine, spec.source, spec.context_length) == (Engine.LLAMA, "/srv/models/w.gguf", 4096)
    assert (spec.gpus, spec.parallel, spec.api_key_from) == (("GPU-1a", "GPU-2b"), 8, "file:/srv/models/key")
    assert (spec.min_replicas, spec.max_replicas, spec.cooldown_seconds) == (0, 4, 60)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("hf://Qwen/Qwen3-32B", "hf://Qwen/Qwen3-32B"),
        ("/w.gguf", "/w.gguf"),
        ("sub/../w.gguf", "/srv/w.gguf"),
        ("~nobody-here/w", "/srv/~nobody-here/w"),
    ],
)
def test_only_relative_paths_are_moved(source: str, kept: str) -> None:
    assert one(text(f"  source: {source}\n"), base_dir="/srv").model.spec.source == kept


def test_a_static_answer_is_no_path() -> None:
    assert one(text("  engine: static\n  source: Hello\n")).model.spec.source == "Hello"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("  engine: vlm\n", "spec.engine: 'vlm' is not one of auto, llama, remote, static (line 8)"),
        ("  replicas: -1\n", "spec.replicas: -1 is not within 0 to 1000 (line 8)"),
        ("  replicas: '2'\n", "spec.replicas: expected a whole number, got '2' (line 8)"),
        ("  replicas: yes\n", "spec.replicas: expected a whole number, got true (line 8)"),
        ("  replicas: [1]\n", "spec.replicas: expected a whole number, got a list (line 8)"),
        ("  image: 1.5\n", "spec.image: expected a string, got 1.5; put it in quotes (line 8)"),
        ("  image: 2026-01-01\n", "spec.image: expected a string, got a date; put it in quotes (line 8)"),
        ("  msgBacklogThreshold: 0\n", "spec.msgBacklogThreshold: 0 is not within 1 to 2147483647 (line 8)"),
        ("  minReplicas: 3\n  maxReplicas: 2\n", "spec.minReplicas: 3 is more than maxReplicas 2 (line 8)"),
        ("  engine: remote\n", "spec.baseURL: is required for a remote model (line 5)"),
        ("  gpus: [GPU-1, GPU-1]\n", "spec.gpus: names a GPU twice (line 8)"),
        ("  gpus: 65\n", "spec.gpus: 65 is not within 0 to 64 (line 8)"),
        ("  baseURL: http://x:99999/v1\n", "spec.baseURL: 'http://x:99999/v1' has no valid host and port (line 8)"),
        ("  apiKey: a\n  apiKeyFrom: {env: B}\n", "spec.apiKeyFrom: is set beside apiKey; keep one of them (line 9)"),
        ("  model: again\n", "'model' is there twice, first on line 7 (line 8)"),
        ("  image: {\n", "not valid YAML: did not find expected node content (line 9)"),
    ],
)
def test_an_error_names_field_values_and_line(spec: str, said: str) -> None:
    assert refusal(text(spec)) == (said,)


@pytest.mark.parametrize("url", ["ftp://x/v1", "https://user:pass@x/v1", "https://x/v1?key=1", "x", "http://"])
def test_urls_that_are_none_of_an_api(url: str) -> None:
    [said] = refusal(text(f"  baseURL: {url}\n"))
    assert said.startswith("spec.baseURL: ")


def test_a_key_is_never_repeated_in_an_error() -> None:
    [said] = refusal(text('  apiKey: "sk-secret\\n"\n'))
    assert "sk-secret" not in said


@pytest.mark.parametrize("name", ["Upper", "a.b", "-a", "a-", "a" * 64, "ü", "a/b", '"x\\e[2J"', '"1.5"'])
def test_names_are_dns_labels(name: str) -> None:
    [said] = refusal(text(name=name))
    assert said.startswith("metadata.name: expected at most 63 lower-case letters")


def test_a_name_that_yaml_reads_as_something_else_belongs_in_quotes() -> None:
    assert refusal(text(name="off")) == ("metadata.name: expected a string, got false; put it in quotes (line 4)",)


@pytest.mark.parametrize("name", ["\u202eqwen", "qw\u2066en", "qwen\u200b", "qwen\u200d", "qw\u00a0en", "qw\u3164en"])
def test_a_model_has_no_characters_that_nobody_sees(name: str) -> None:
    [said] = refusal(text().replace("model: m\n", f"model: {json.dumps(name)}\n"))
    assert said == f"spec.model: expected text without invisible characters, got {name!a} (line 7)"


@pytest.mark.parametrize("name", ["Qwen/Qwen3-32B:latest", "千问 3", "модель", "modèle 🤖"])
def test_a_model_may_have_a_name_in_any_script(name: str) -> None:
    assert one(text().replace("model: m\n", f"model: {name}\n")).model.spec.model == name


def test_all_errors_of_all_documents_come_at_once() -> None:
    both = text("  replicas: -1\n  parallel: 0\n") + "---\n" + text(name="B")
    assert [said.split(":")[0] for said in refusal(both)] == ["spec.replicas", "spec.parallel", "metadata.name"]
    assert refusal(both)[2].endswith("(line 14)")


def test_a_misspelt_field_warns_and_explains_an_error() -> None:
    assert one(text("  replica: 2\n")).warnings == (
        "spec.replica: unknown field, ignored; did you mean replicas? (line 8)",
    )
    with pytest.raises(ManifestError) as error:
        parse(text("  engine: remote\n  baseUrl: https://x/v1\n"), base_dir="/")
    assert error.value.warnings == ("spec.baseUrl: unknown field, ignored; did you mean baseURL? (line 9)",)


def test_what_an_api_server_adds_is_taken_without_a_word() -> None:
    model = AIModel(namespace="default", name="m", spec=Spec(type="local", model="m"), resource_version="7", uid="u")
    again = one(json.dumps(to_manifest_dict(model)))
    assert (again.warnings, again.model.resource_version, again.model.spec) == ((), "7", model.spec)


def test_a_list_and_json_with_tabs() -> None:
    item = to_manifest_dict(AIModel(namespace="default", name="a", spec=Spec(type="local", model="m")))
    other = to_manifest_dict(AIModel(namespace="default", name="b", spec=Spec(type="local", model="m")))
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item, other]}, indent="\t")
    assert [parsed.model.name for parsed in parse(listed, base_dir="/")] == ["a", "b"]


def test_json_escapes_of_rare_characters_are_read() -> None:
    image = "\\\U0001f600\\ud83d"
    model = AIModel(namespace="default", name="m", spec=Spec(type="local", model="m", image=image))
    assert one(json.dumps(to_manifest_dict(model))).model.spec.image == image


def test_the_same_model_twice_is_an_error() -> None:
    assert refusal(text() + "---\n" + text()) == ("default/m is there twice, first on line 1 (line 9)",)


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        ("  parallel: 4\n  msgBacklogThreshold: 4\n", "not above the 4 requests"),
        ("  parallel: 200\n  maxProcessNum: 300\n  msgBacklogThreshold: 100\n", "not above the 200 requests"),
        ("  parallel: 4\n  msgBacklogThreshold: 5\n", ""),
        ("  msgBacklogThreshold: 5\n", ""),
        ("  msgBacklogThreshold: 500\n  replicas: 2\n", "spec.replicas: has no effect"),
        ("  maxReplicas: 2\n", "spec.maxReplicas: has no effect without msgBacklogThreshold"),
        ("  baseURL: https://api.openai.com\n", "requests go to https://api.openai.com/chat/completions"),
    ],
)
def test_what_is_seldom_meant_warns(spec: str, warned: str) -> None:
    warnings = one(text(spec)).warnings
    assert len(warnings) == bool(warned)
    assert all(warned in warning for warning in warnings)


BOMB = "a: &a0 [x]\n" + "".join(f"b{i}: &a{i + 1} [{','.join([f'*a{i}'] * 10)}]\n" for i in range(9))


@pytest.mark.parametrize(
    "hostile",
    [
        BOMB,
        "a: &a [*a]",
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 50_000,
        "x" * 10_000_000,
        "a: [" + "x, " * 200_000 + "]",
        "a: !!python/object/apply:os.system [id]",
        "a: !!binary aGk=",
        "<<: {a: 1}",
        "? [a]\n: b",
        "1: 2",
        "a: \x1b[31m",
        "a: \ud800",
        "a: " + "9" * 5_000,
        "a: 2026-99-99",
        "a: *nobody",
        "%YAML 9.9\n---\na: 1",
        "a: b: c",
        "\tx",
        "'open",
        "apiVersion: [b]x[/b]\nkind: AIModel",
        "kind: '\\e'\n",
        "kind: Pod",
        "- 1",
        "null",
        "",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_hostile_text_gets_one_clear_line_at_once(hostile: str) -> None:
    began = time.process_time()
    [said] = refusal(hostile)
    assert len(said) < 300
    assert time.process_time() - began < 5


def test_markup_and_escapes_in_values_are_only_text() -> None:
    model = one(text('  image: "[bold]x[/]"\n')).model
    assert model.spec.image == "[bold]x[/]"
    assert refusal(text('  image: "x\\e[2J"\n'))[0].startswith("spec.image: expected text without control characters")


@given(st.text(max_size=300))
@example("kind: AIModel\napiVersion: model.youxam.com/v1alpha1\nspec: 3\nmetadata: []")
def test_no_text_breaks_the_parser(anything: str) -> None:
    with pytest.raises(ManifestError) as error:
        parse(anything, base_dir="/")
    assert all(line.isprintable() for line in error.value.errors)


@given(specs())
def test_a_spec_survives_its_fields(spec: Spec) -> None:
    assert from_fields(json.loads(json.dumps(to_fields(spec)))) == spec


@given(models())
def test_a_model_survives_its_yaml(model: AIModel) -> None:
    again = one(render(model)).model
    assert (again.key, again.spec) == (model.key, model.spec)
    assert (sorted(again.labels), sorted(again.annotations)) == (list(model.labels), list(model.annotations))


def test_rendered_yaml_masks_the_key_and_the_mask_is_no_key() -> None:
    model = one(ORIGINAL).model
    assert "sk-secret" not in render(model, status=True) + json.dumps(to_manifest_dict(model))
    assert f"apiKey: '{MASK}'" in render(model)
    assert refusal(render(model))[0].startswith(f"spec.apiKey: {MASK} stands for a key that is not shown")


def test_diff_shows_what_a_change_changes() -> None:
    old = one(text("  replicas: 1\n")).model
    new = replace(old, spec=replace(old.spec, replicas=3))
    assert [line for line in diff(old, new) if line[0] in "+-"] == ["-  replicas: 1", "+  replicas: 3"]
    assert diff(old, old) == ()
    assert "+  replicas: 1" in diff(None, old)


def test_objects_print_as_kubectl_prints_them() -> None:
    status = Status(
        state="Running",
        message="AIModel is running successfully",
        ready=1,
        desired=2,
        observed_generation=3,
        conditions=(Condition(type="Ready", status=True, reason="ReplicasReady", since_s=86_400),),
    )
    model = replace(one(ORIGINAL).model, uid="u", generation=3, resource_version="9", created_s=0, status=status)
    printed = to_manifest_dict(model)
    assert printed["metadata"] == {
        "name": "aimodel-sample",
        "namespace": "default",
        "labels": dict(model.labels),
        "uid": "u",
        "generation": 3,
        "resourceVersion": "9",
        "creationTimestamp": "1970-01-01T00:00:00Z",
    }
    assert printed["status"]["conditions"] == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "ReplicasReady",
            "message": "",
            "lastTransitionTime": "1970-01-02T00:00:00Z",
        }
    ]

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from operator_embed.crd import crd_yaml
from operator_embed.schema import FIELDS, problems

COMMITTED = Path(__file__).parents[2] / "assets/crd/aimodels.yaml"
VALID = {"type": "local", "model": "m"}


@pytest.fixture(scope="module")
def version() -> dict[str, Any]:
    [version] = yaml.safe_load(crd_yaml())["spec"]["versions"]
    assert isinstance(version, dict)
    return version


def test_the_committed_file_is_what_is_printed() -> None:
    assert COMMITTED.read_text() == crd_yaml()


def test_names_and_columns_are_the_originals(version: dict[str, Any]) -> None:
    crd = yaml.safe_load(crd_yaml())
    assert crd["metadata"]["name"] == "aimodels.model.youxam.com"
    assert crd["spec"]["names"] == {
        "kind": "AIModel",
        "listKind": "AIModelList",
        "plural": "aimodels",
        "singular": "aimodel",
    }
    assert [(c["name"], c["type"], c["jsonPath"]) for c in version["additionalPrinterColumns"]] == [
        ("Type", "string", ".spec.type"),
        ("Model", "string", ".spec.model"),
        ("Replicas", "integer", ".spec.replicas"),
        ("State", "string", ".status.state"),
    ]
    assert version["subresources"].keys() == {"status", "scale"}


def test_the_originals_fields_keep_their_types(version: dict[str, Any]) -> None:
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert {name: spec[name]["type"] for name in list(spec)[:8]} == {
        "type": "string",
        "model": "string",
        "image": "string",
        "replicas": "integer",
        "baseURL": "string",
        "apiKey": "string",
        "maxProcessNum": "integer",
        "msgBacklogThreshold": "integer",
    }


@pytest.mark.parametrize("field", [field for field in FIELDS if field.kind == "integer"], ids=lambda field: field.name)
def test_the_definition_and_the_parser_agree_on_bounds(version: dict[str, Any], field: Any) -> None:
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][field.name]
    for value, fits in [
        (schema["minimum"] - 1, False),
        (schema["minimum"], True),
        (schema["maximum"], True),
        (schema["maximum"] + 1, False),
    ]:
        assert (not list(problems({**VALID, field.name: value}))) is fits

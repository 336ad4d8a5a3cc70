"""The CustomResourceDefinition: the original's names and columns, our validation in an API server's words."""

from __future__ import annotations

from typing import Any

from operator_embed.aimodel import GROUP, KIND, PLURAL, VERSION
from operator_embed.schema import FIELDS, KEY_SOURCES, Field
from operator_embed.yaml_text import dump

COLUMNS = (
    ("Type", "string", ".spec.type"),
    ("Model", "string", ".spec.model"),
    ("Replicas", "integer", ".spec.replicas"),
    ("State", "string", ".status.state"),
)
"""The original's printer columns, in its order."""


def crd_yaml() -> str:
    """The definition as `kubectl apply` takes it."""
    return dump(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{PLURAL}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "names": {"kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower()},
                "scope": "Namespaced",
                "versions": [_version()],
            },
        }
    )


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [{"name": name, "type": kind, "jsonPath": path} for name, kind, path in COLUMNS],
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.ready"},
        },
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "A model that is served by replicas, each pulling requests from the model's queue.",
                "required": ["metadata", "spec"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": _spec(),
                    "status": _status(),
                },
            }
        },
    }


def _spec() -> dict[str, Any]:
    return {
        "type": "object",
        "required": [field.name for field in FIELDS if field.required],
        "properties": {field.name: _property(field) for field in FIELDS},
    }


def _property(field: Field) -> dict[str, Any]:
    match field.kind:
        case "string":
            described = {"type": "string", "description": field.help}
            if field.choices:
                return {**described, "enum": list(field.choices)}
            pattern = f"^{field.pattern}$" if field.required else f"^({field.pattern})?$"
            return {**described, "maxLength": field.longest, "pattern": pattern}
        case "integer":
            return {
                "type": "integer",
                "format": "int32",
                "description": field.help,
                "minimum": field.least,
                "maximum": field.most,
            }
        case "gpus":
            # A structural schema cannot say "a number or a list"; the operator validates this field.
            return {"x-kubernetes-preserve-unknown-fields": True, "description": field.help}
        case "key":
            return {
                "type": "object",
                "description": field.help,
                "minProperties": 1,
                "maxProperties": 1,
                "properties": {
                    source: {"type": "string", "pattern": f"^{pattern}$"} for source, pattern in KEY_SOURCES.items()
                },
            }


def _status() -> dict[str, Any]:
    number = {"type": "integer", "format": "int32"}
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "state": {**text, "description": "Pending, Running, Failed, Stopped or Idle."},
            "message": text,
            "ready": {**number, "description": "Replicas that answer."},
            "desired": {**number, "description": "Replicas that there should be now."},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                    "properties": {
                        "type": text,
                        "status": {**text, "enum": ["True", "False", "Unknown"]},
                        "reason": text,
                        "message": text,
                        "lastTransitionTime": {**text, "format": "date-time"},
                        "observedGeneration": {"type": "integer", "format": "int64"},
                    },
                },
            },
        },
    }

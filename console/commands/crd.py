"""`uplion crd`: what makes a cluster know AIModels."""

from __future__ import annotations

import argparse

from operator_embed.crd import crd_yaml


def crd(_: argparse.Namespace) -> int:
    """Print the CustomResourceDefinition."""
    print(crd_yaml(), end="")
    return 0

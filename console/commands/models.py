"""Commands on AIModels."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from console import settings
from operator_embed.box.fleet import BoxFleet
from operator_embed.box.home import Home
from operator_embed.fleet.fleet import FleetError


def _fleet() -> BoxFleet:
    home = Home.default()
    return BoxFleet(home, settings.load(home.config).api_url)


def apply(options: argparse.Namespace) -> int:
    """Create or change what a file names."""
    text = sys.stdin.read() if options.filename == "-" else Path(options.filename).read_text()
    base = "." if options.filename == "-" else str(Path(options.filename).parent)
    try:
        for one in asyncio.run(_fleet().models.apply(text, base_dir=base)):
            print(f"aimodel/{one.key.partition('/')[2]} {one.action}")
            for warning in one.warnings:
                print(f"warning: {warning}", file=sys.stderr)
    except FleetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def get(options: argparse.Namespace) -> int:
    """List AIModels."""
    models = [m for m in _fleet().store().list() if options.name in (None, m.name)]
    for model in models:
        print(model.name, model.status.state, f"{model.status.ready}/{model.status.desired}", model.status.message)
    return 0 if models or options.name is None else 1

"""`uplion doctor`: what works here, what is missing and how to get it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from console.doctor import Check, examine
from operator_embed.box.home import Home
from operator_embed.fleet.text import safe_text
from screens.format import plural

KEY_CELLS = 10


def doctor(options: argparse.Namespace) -> int:
    """Print all checks as they are made; 1 when something that is needed is broken."""
    checks: list[Check] = []
    for check in examine(Home.default()):
        checks.append(check)
        if options.output == "table":
            print(f"{check.status:2}  {check.name:{KEY_CELLS}} {safe_text(check.text)}", flush=True)
            if check.fix:
                print(f"{'':{KEY_CELLS + 4}} to do: {safe_text(check.fix)}", flush=True)
    broken = sum(check.status == "!" for check in checks)
    if options.output == "json":
        print(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        print(f"\n{plural(broken, 'check')} failed" if broken else "\nall that is needed works")
    return 1 if broken else 0

"""`synap settings`: every setting, its value, and where the value comes from."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from typing import Any

import click

from synap_integrations.errors import InvalidInputError
from synap_integrations.secret import Secret
from synap_integrations.settings import Settings

_EPILOG = """\b
Examples:
  synap settings
  synap settings turns=stream recall_timeout_s=0.5
  synap settings --json | jq '.settings[] | select(.origin != "default")'"""
_VALUE = 32


@click.command("settings", epilog=_EPILOG)
@click.argument("tried", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(tried: tuple[str, ...], *, as_json: bool) -> None:
    """Show every setting, its value and where the value comes from.

    NAME=VALUE tries a value out, as if it were an argument: `synap settings turns=stream`.
    """
    explicit = dict(_pair(text) for text in tried)
    rows, in_effect = setting_rows(**explicit), effect(Settings.read(None, **explicit))
    if as_json:
        sys.stdout.write(f"{json.dumps({'in_effect': in_effect, 'settings': rows}, indent=2)}\n")
    else:
        sys.stdout.write(f"{_page(rows, in_effect)}\n")


def setting_rows(**explicit: str) -> list[dict[str, Any]]:
    """Every setting: ``name``, ``variable``, ``value``, ``origin``, ``help``; of a key only that there is one."""
    settings, origins = Settings.read(None, **explicit), Settings.origins(None, **explicit)
    return [
        {
            "name": row.name,
            "variable": row.metadata["variable"],
            "value": _shown(getattr(settings, row.name)),
            "origin": origins[row.name],
            "help": row.metadata["help"],
        }
        for row in dataclasses.fields(settings)
    ]


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        message = f"{text!r} is not name=value, such as turns=stream"
        raise InvalidInputError(message)
    return name, value


def _shown(value: object) -> object:
    """The value as JSON can hold it; of a key only that there is one."""
    if isinstance(value, Secret):
        return f"set (fingerprint {value.fingerprint()})"
    if isinstance(value, tuple) and all(isinstance(one, Secret) for one in value):
        return f"set (fingerprint {', '.join(one.fingerprint() for one in value)})" if value else None
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def effect(settings: Settings) -> dict[str, object]:
    """What the values come to, taken together."""
    if settings.embedded:
        return {"platform": "embedded", "folder": str(settings.root)}
    host, port, tls = settings.stream_address
    stream = f"{host}:{port} ({'TLS' if tls else 'clear text'})"
    return {"platform": settings.rest_url, "stream": stream, "folder": str(settings.root)}


def _word(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else str(value)


def _page(rows: list[dict[str, Any]], in_effect: dict[str, object]) -> str:
    lines = [f"{name:<10}{value}" for name, value in in_effect.items()]
    lines += ["", "An argument wins over the environment, the environment over the default.", ""]
    wide = max(len(row["variable"]) for row in rows)
    for row in rows:
        lines.append(f"{row['variable']:<{wide}}  {_word(row['value']):<{_VALUE}}  {row['origin']}")
        lines += textwrap.wrap(row["help"], 76, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)

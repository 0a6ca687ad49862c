"""What `synap dev` says when it is ready: where it is, what it keeps, what to export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .terminal import counted

if TYPE_CHECKING:
    from synap_integrations.server.serving.dev_server import DevServer

_EXPORTED: Final = ("SYNAP_BASE_URL", "SYNAP_API_KEY", "SYNAP_GRPC_PORT")
_FOR_THE_SDK: Final = ("SYNAP_GRPC_HOST", "SYNAP_GRPC_USE_TLS")


def as_json(server: DevServer) -> str:
    """One line: ``url``, ``grpc`` (host:port), ``pages``, ``api_key``, ``file`` (null for memory), ``environment``."""
    path = server.synap.engine.database.path
    return json.dumps(
        {
            "url": server.url,
            "grpc": f"{server.host}:{server.grpc_port}",
            "pages": server.pages,
            "api_key": server.options.key.reveal(),
            "file": None if path is None else str(path),
            "environment": server.environment,
        }
    )


def as_text(server: DevServer) -> str:
    """The same for a person."""
    variables = server.environment
    lines = [
        "A local Synap is ready. Nothing it is told leaves this machine.",
        "",
        f"  REST      {server.url}",
        f"  stream    {server.host}:{server.grpc_port}",
        f"  pages     {server.pages}",
        f"  memory    {_memory(server)}",
        "",
        *(f"  export {name}={variables[name]}" for name in _EXPORTED),
        "",
        f"  The platform's own SDK also needs {' '.join(f'{name}={variables[name]}' for name in _FOR_THE_SDK)}",
        "  Ctrl-C stops it.",
    ]
    return "\n".join(lines)


def _memory(server: DevServer) -> str:
    counts = server.synap.engine.stats()
    held = f"{counted(counts['turns'], 'turn')} of {counted(counts['users'], 'user')}"
    path = server.synap.engine.database.path
    if path is None:
        return f"in memory, gone when this stops ({held} so far); --db FILE keeps it"
    return f"{str(path).replace(str(Path.home()), '~', 1)}, kept when this stops ({held})"

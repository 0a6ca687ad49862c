"""Two free ports next to each other, on this machine alone, bound before anything is served."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from synap_integrations.errors import InvalidInputError

_ATTEMPTS: Final = 20
_LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Doors:
    """What is bound: the sockets of REST, and both ports. ``host`` is how to call it, in the form of a URL."""

    http: tuple[socket.socket, ...]
    http_port: int
    grpc_port: int
    host: str


def open_doors(bind_grpc: Callable[[str], int], *, address: str | None, port: int, grpc_port: int | None) -> Doors:
    """Bind REST to ``port`` and the stream to ``grpc_port``, or to the one after ``port``; 0 is any that is free.

    ``bind_grpc`` binds ``host:port`` and raises RuntimeError if it cannot; ``address`` None is this machine alone.

    Raises: InvalidInputError, if a port is taken or the address is not of this machine, naming the fix.
    """
    addresses = _LOOPBACK if address is None else (address,)
    for _ in range(_ATTEMPTS if port == 0 else 1):
        with ExitStack() as undo:
            http = _bound(addresses, port, undo)
            http_port = http[0].getsockname()[1]
            stream_port = http_port + 1 if grpc_port is None else grpc_port
            if port == 0 and grpc_port is None and not _is_free(addresses, stream_port):
                continue
            stream_port = _bound_grpc(bind_grpc, addresses, stream_port)
            undo.pop_all()
            return Doors(http, http_port, stream_port, _host(addresses[0]))
    message = "there are no two free ports next to each other: pass --port and --grpc-port"
    raise InvalidInputError(message)


def open_front_door(port: int) -> Doors:
    """Bind pages alone, on this machine alone, to ``port``; 0 is any that is free.

    Raises: InvalidInputError, if the port is taken, naming the fix.
    """
    with ExitStack() as undo:
        http = _bound(_LOOPBACK, port, undo)
        undo.pop_all()
    return Doors(http, http[0].getsockname()[1], 0, _host(_LOOPBACK[0]))


def _bound(addresses: Sequence[str], port: int, undo: ExitStack) -> tuple[socket.socket, ...]:
    """A socket on each of these addresses, all on one port. An address of loopback that the machine lacks is skipped.

    Raises: InvalidInputError, if the port is taken on one of them.
    """
    sockets: list[socket.socket] = []
    for address in addresses:
        # With its protocol said: asyncio takes the delay of 40 ms only from connections that say that they are TCP.
        opened = socket.socket(_family(address), socket.SOCK_STREAM, socket.IPPROTO_TCP)
        undo.callback(opened.close)
        try:
            _bind(opened, address, sockets[0].getsockname()[1] if sockets else port)
        except OSError as error:
            if sockets and error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                continue
            raise _refusal(address, port, error, "--port") from None
        sockets.append(opened)
    return tuple(sockets)


def _bound_grpc(bind: Callable[[str], int], addresses: Sequence[str], port: int) -> int:
    """The port that gRPC was given, the same on each of these addresses."""
    for at, address in enumerate(addresses):
        if (fault := _fault(address, port)) is not None:
            if at and fault.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                continue
            raise _refusal(address, port, fault, "--grpc-port")
        try:
            port = bind(f"{_host(address)}:{port}")
        except RuntimeError as error:  # taken within the last millisecond
            raise _refusal(address, port, error, "--grpc-port") from None
    return port


def _is_free(addresses: Sequence[str], port: int) -> bool:
    busy = {errno.EADDRINUSE, errno.EACCES}
    return port < 65536 and not any((error := _fault(at, port)) and error.errno in busy for at in addresses)


def _fault(address: str, port: int) -> OSError | None:
    """Why this port cannot be bound now; gRPC would say so on stderr, in many words and none of them helpful."""
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            _bind(probe, address, port)
    except OSError as error:
        return error
    return None


def _bind(opened: socket.socket, address: str, port: int) -> None:
    # What is left of an earlier server's connections is no reason to refuse; a server that still listens is.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.bind((address, port))
    opened.listen()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _host(address: str) -> str:
    """The address in the form of a URL; one that means everywhere is called as this machine."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - to call, not to bind
    return f"[{address}]" if ":" in address else address


def _refusal(address: str, port: int, error: Exception, option: str) -> InvalidInputError:
    code = error.errno if isinstance(error, OSError) else errno.EADDRINUSE
    if code == errno.EADDRINUSE:
        fault = f"port {port} is taken by another program: pass {option} with another one, or --port 0 for any two"
    elif code == errno.EACCES:
        fault = f"port {port} is not for this user: pass {option} with one from 1024 up"
    else:
        fault = f"{address} cannot be bound ({error}): pass an address of this machine"
    return InvalidInputError(fault, details={"argument": option.strip("-").replace("-", "_")})

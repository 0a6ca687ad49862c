"""Where a key may go: over TLS anywhere, in clear text only to this machine.

An address is matched against a narrow grammar before anything else reads it, so that no two parsers can disagree about
which host it names. This machine is a dotted ``127.x.x.x``, ``::1`` or ``localhost``; short, decimal or hexadecimal
spellings, ``0.0.0.0`` and mapped addresses are not, because resolvers read them differently.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from synap_integrations.errors import InvalidInputError
from synap_integrations.settings import Settings

_log = logging.getLogger(__name__)

PLATFORM_DOMAIN: Final = "maximem.ai"
_HOST: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]"
_URL: Final = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?(?P<path>(?:/[\w.~-]+)*)/?", re.ASCII
)
_BARE_HOST: Final = re.compile(rf"{_HOST}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)


def check(settings: Settings) -> None:
    """Make sure that what is captured may go where the settings send it, before there is anything to send.

    Raises: InvalidInputError, naming the variable where the environment says it, if an address cannot be used or there
    is no key for another machine.
    """
    if settings.embedded:
        return
    try:
        where = rest_address(settings.rest_url)
        host, port, tls = settings.stream_address
        stream_target(host, port, tls=tls)
    except InvalidInputError as error:
        argument = str(error.details["argument"])
        if getattr(settings, argument) not in Settings.addresses_of_the_environment():
            raise
        message = error.message.replace(argument, f"SYNAP_{argument.upper()}", 1)
        raise InvalidInputError(message, details=error.details) from None
    here = is_loopback(urlsplit(where).hostname or "") and is_loopback(host)
    if settings.api_key is None and not here:
        message = (
            f"SYNAP_BASE_URL={settings.base_url} needs SYNAP_API_KEY: set it; only SYNAP_BASE_URL=local needs none"
        )
        raise InvalidInputError(message, details={"argument": "api_key"})


def rest_address(url: str) -> str:
    """The address of a REST surface, without a slash at its end.

    Raises: InvalidInputError, if it is no plain ``https://host[:port][/path]``, or ``http://`` to another machine.
    """
    match = _URL.fullmatch(url)
    fault = None
    if match is None or int(match["port"] or 0) > 65535:
        fault = _fault_of(url)
    elif match["scheme"] == "http" and not is_loopback(match["host"]):
        fault = f"base_url names another machine ({match['host']}) over http: use https://"
    if fault:
        raise InvalidInputError(fault, details={"argument": "base_url"})
    return url.rstrip("/")


def stream_target(host: str, port: int, *, tls: bool) -> str:
    """The stream's address in the form gRPC takes; a host name is never read as one of gRPC's own schemes.

    Raises: InvalidInputError, if it is no host, or is another machine without TLS.
    """
    fault = None
    if not _BARE_HOST.fullmatch(host):
        fault = "grpc_host is no host name or address: give it without scheme, port and path"
    elif not tls and not is_loopback(host):
        fault = f"grpc_host names another machine ({host}) without TLS: leave SYNAP_GRPC_USE_TLS on"
    if fault:
        raise InvalidInputError(fault, details={"argument": "grpc_host"})
    bare = host.strip("[]")
    return f"dns:///[{bare}]:{port}" if ":" in bare else f"dns:///{bare}:{port}"


def is_loopback(host: str) -> bool:
    """True for this machine, written in one of the three ways that cannot be misread."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address == ipaddress.IPv6Address("::1")
    return address.is_loopback


def ensure_here(host: str, *, resolve: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
    """Make sure that ``localhost`` is this machine for the resolver too. A name that does not resolve is let be.

    Raises: InvalidInputError, if a hosts file or a resolver sends it elsewhere.
    """
    if host.lower() != "localhost":
        return
    try:
        found = {str(entry[4][0]) for entry in resolve(host, None)}
    except OSError:
        return
    if elsewhere := sorted(address for address in found if not ipaddress.ip_address(address).is_loopback):
        message = f"localhost resolves to {elsewhere[0]} here, which is another machine: write 127.0.0.1"
        raise InvalidInputError(message, details={"argument": "base_url"})


@cache
def say_once_where_it_goes(host: str) -> None:
    """A host that the environment names, and that is neither the platform's nor this machine, is said in the log.

    Whoever can set a variable in a shared shell or a build can otherwise redirect transcripts without a trace.
    """
    bare = host.strip("[]").rstrip(".").lower()
    if not (is_loopback(host) or bare == PLATFORM_DOMAIN or bare.endswith(f".{PLATFORM_DOMAIN}")):
        _log.warning(
            "synap: the environment sends transcripts and the key to %s, which is not the platform's own host; "
            "pass base_url in code if that is meant, or unset SYNAP_BASE_URL and SYNAP_GRPC_HOST",
            host,
        )


def _fault_of(url: str) -> str:
    """What is wrong with the address, without repeating what may hold a key."""
    if "@" in url:
        return "base_url holds a user name or password: pass the key as api_key or SYNAP_API_KEY"
    if "?" in url or "#" in url:
        return "base_url holds a query: pass the key as api_key or SYNAP_API_KEY, and the address alone"
    if "://" not in url:
        return "base_url is no address: write `local`, `cloud` or https://host[:port][/path]"
    return "base_url is not of the form https://host[:port][/path]"

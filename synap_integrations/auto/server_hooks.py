"""Where web servers take up their application, which is then wrapped: once in each process, on behalf of `headers`.

No server is imported for it. What is laid over is public where the server has such a place; a server that has changed
costs one line on stderr, and its headers are not read.

Source: uvicorn 0.54.0, config.py, Config.load; gunicorn 27.0.1, app/base.py, BaseApplication.wsgi; hypercorn 0.18.0,
utils.py, wrap_app; daphne 4.2.3, server.py, Server; granian 2.8.7, asgi.py and wsgi.py, _callback_wrapper; Python 3.11,
wsgiref/simple_server.py, WSGIServer.set_app, which Django 5.2's runserver calls
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from synap_integrations.auto.headers import AsgiHeaders, WsgiHeaders
from synap_integrations.auto.run_options import SERVERS
from synap_integrations.auto.startup_guard import untouched
from synap_integrations.overlay import Overlay

if TYPE_CHECKING:
    from synap_integrations.ports import Detach

_Wrapper = type[AsgiHeaders] | type[WsgiHeaders]


def _over(owner: type | ModuleType, name: str, method: Callable[..., Any]) -> Detach:
    overlay = Overlay()
    overlay.put(owner, name, method)
    return overlay.remove


def _of_uvicorn() -> Detach:
    config = sys.modules["uvicorn.config"].Config
    load = config.load

    def loading(self: Any) -> None:  # noqa: ANN401 - uvicorn's
        load(self)
        with untouched("the headers of uvicorn are not read"):
            self.loaded_app = AsgiHeaders(self.loaded_app)

    return _over(config, "load", loading)


def _of_gunicorn() -> Detach:
    application = sys.modules["gunicorn.app.base"].BaseApplication
    wsgi = application.wsgi

    def loading(self: Any) -> object:  # noqa: ANN401 - gunicorn's
        app = wsgi(self)
        # Workers of other servers get their ASGI application from here, too, and are told at their own door.
        asgi = inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004 - its kind is asked for
        return app if asgi or isinstance(app, WsgiHeaders) else WsgiHeaders(app)

    return _over(application, "wsgi", loading)


def _of_hypercorn() -> Detach:
    utils = sys.modules["hypercorn.utils"]
    wrap, of_asgi = utils.wrap_app, utils.ASGIWrapper

    def wrapping(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - hypercorn's
        wrapper = wrap(*given, **named)
        with untouched("the headers of hypercorn are not read"):
            wrapper.app = (AsgiHeaders if isinstance(wrapper, of_asgi) else WsgiHeaders)(wrapper.app)
        return wrapper

    return _over(utils, "wrap_app", wrapping)


def _of_daphne() -> Detach:
    return _with_wrapped(sys.modules["daphne.server"].Server, "__init__", AsgiHeaders)


def _of_wsgiref() -> Detach:
    return _with_wrapped(sys.modules["wsgiref.simple_server"].WSGIServer, "set_app", WsgiHeaders)


def _with_wrapped(owner: type, method: str, wrapper: _Wrapper) -> Detach:
    """The method takes the application as its first argument."""
    plain = getattr(owner, method)

    def taking(self: Any, application: Any, *given: Any, **named: Any) -> object:  # noqa: ANN401 - the server's
        return plain(self, wrapper(application), *given, **named)

    return _over(owner, method, taking)


def _of_granian(module: str, wrapper: _Wrapper) -> Detach:
    granian = sys.modules[module]
    wrap = granian._callback_wrapper  # noqa: SLF001 - there is no public place

    def wrapping(callback: Any, *given: Any, **named: Any) -> object:  # noqa: ANN401 - granian's
        return wrap(wrapper(callback), *given, **named)

    return _over(granian, "_callback_wrapper", wrapping)


_OPENED: Final[tuple[Callable[[], Detach], ...]] = (
    _of_uvicorn,
    _of_gunicorn,
    _of_hypercorn,
    _of_daphne,
    _of_wsgiref,
    partial(_of_granian, "granian.asgi", AsgiHeaders),
    partial(_of_granian, "granian.wsgi", WsgiHeaders),
)

HOOKS: Final = dict(zip(SERVERS, _OPENED, strict=True))
"""By module, what is done when it has been imported; each returns how to undo it."""

"""A Django application in one file: ``python in_django.py runserver`` serves it; so does any WSGI or ASGI server."""

import sys

import chat
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of an example", USE_TZ=True)


def answer(request):
    """One turn."""
    if conversation := request.GET.get("conversation"):
        return HttpResponse(chat.ask(conversation, request.GET["said"]))
    return HttpResponse(chat.chain.invoke({"said": request.GET["said"]}))


urlpatterns = [path("", answer)]
application = WSGIHandler() if django.setup() is None else None
asgi = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

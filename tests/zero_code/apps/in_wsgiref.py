"""The WSGI application in the standard library's own server, as Django's ``runserver`` uses it."""

import sys
from wsgiref.simple_server import make_server

import in_wsgi

if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), in_wsgi.app).serve_forever()

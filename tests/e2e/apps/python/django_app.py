# SPDX-License-Identifier: Apache-2.0
"""A Django application with sessions, on cheroot's threads: `django_app.py PORT cache` keeps them in LocMemCache (Django's default cache),
`django_app.py PORT file DIRECTORY` in files."""
import base64
import hashlib
import os
import sys
import time

import cheroot.wsgi
import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import path


def wait_at(request):
    if request.GET.get("gate"):
        with open(request.GET["gate"], encoding="ascii") as f:
            f.readline()
    time.sleep(float(request.GET.get("hold", 0)))


def report(request, n):
    return JsonResponse({"n": n, "id": request.session.session_key, "sent_id": request.COOKIES.get("sessionid"),
                         "name": request.session.get("name"), "replica": os.environ.get("REPLICA")})


def count(request):
    n = request.session.get("n", 0)
    wait_at(request)
    request.session["n"] = n + 1
    if request.session.session_key is None:  # else the middleware makes it after the view
        request.session.save()
    return report(request, n + 1)


def me(request):
    n = request.session.get("n", 0)
    wait_at(request)
    return report(request, n)


def anonymous(_request):
    return JsonResponse({"replica": os.environ.get("REPLICA")})


def login(request):
    request.session.cycle_key()
    request.session["name"] = request.POST["name"]
    return HttpResponseRedirect("/me")


def logout(request):
    request.session.flush()
    return JsonResponse({"ok": True})


def stream(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return StreamingHttpResponse((b"line %d\n" % i * 400 for i in range(8)), content_type="text/plain")


def big(request):
    if request.method == "POST":
        size = request.POST["size"]
        request.session["big"] = base64.b64encode(os.urandom(int(size)))[:int(size)].decode()
    text = request.session.get("big", "")
    return JsonResponse({"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()})


urlpatterns = [path(view.__name__, view) for view in (count, me, anonymous, login, logout, stream, big)]


def main(port, backend, directory=None):
    settings.configure(SECRET_KEY="the same on all replicas", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
                       SESSION_ENGINE="django.contrib.sessions.backends." + backend, SESSION_FILE_PATH=directory,
                       MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"])
    django.setup()
    cheroot.wsgi.Server(("127.0.0.1", int(port)), get_wsgi_application(), numthreads=24, shutdown_timeout=1).safe_start()


if __name__ == "__main__":
    main(*sys.argv[1:])

# SPDX-License-Identifier: Apache-2.0
"""Django's own admin with file sessions, on cheroot's threads: `django_admin.py prepare DATABASE` makes the tables and the user admin
(password: secret), `django_admin.py PORT DATABASE DIRECTORY cookie|session` serves it with its CSRF token in a cookie or in the session."""
import os
import sys

import cheroot.wsgi
import django
from django.conf import settings
from django.contrib import admin
from django.core.wsgi import get_wsgi_application
from django.urls import path

MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.contrib.sessions.middleware.SessionMiddleware",
              "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
              "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware"]
PROCESSORS = ["django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
              "django.contrib.messages.context_processors.messages"]


def replica(get_response):
    def answer(request):
        response = get_response(request)
        response["X-Replica"] = os.environ.get("REPLICA", "")
        return response
    return answer


def configure(database, directory=None, csrf="cookie"):
    settings.configure(
        SECRET_KEY="the same on all replicas", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField", STATIC_URL="/static/", MIDDLEWARE=[__name__ + ".replica", *MIDDLEWARE],
        INSTALLED_APPS=["django.contrib." + app for app in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                    "OPTIONS": {"context_processors": PROCESSORS}}],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "OPTIONS": {"timeout": 20}}},
        SESSION_ENGINE="django.contrib.sessions.backends.file", SESSION_FILE_PATH=directory, CSRF_USE_SESSIONS=csrf == "session",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])
    django.setup()


def prepare(database):
    configure(database)
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser("admin", "admin@example.org", "secret")


def serve(port, database, directory, csrf):
    configure(database, directory, csrf)
    admin.autodiscover()
    urlpatterns.append(path("admin/", admin.site.urls))
    cheroot.wsgi.Server(("127.0.0.1", int(port)), get_wsgi_application(), numthreads=12, shutdown_timeout=1).safe_start()


urlpatterns = []


if __name__ == "__main__":
    prepare(sys.argv[2]) if sys.argv[1] == "prepare" else serve(*sys.argv[1:])

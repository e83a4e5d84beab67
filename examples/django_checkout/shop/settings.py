"""Settings of the shop. The client of CyberSource reads its own from the ``CYBERSOURCE_`` variables; see README.md."""

import os
import secrets
from urllib.parse import urlsplit

# The origin of the pages, such as https://shop.example.com. Empty on a developer's machine.
SHOP_ORIGIN = os.environ.get("SHOP_ORIGIN", "")
IS_HTTPS = SHOP_ORIGIN.startswith("https:")

# In production, set the same key for all processes.
SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
# False everywhere: the error pages of the debug mode show variables, and with them tokens.
DEBUG = False
ALLOWED_HOSTS = [urlsplit(SHOP_ORIGIN).hostname or "localhost"]

INSTALLED_APPS = ["django.contrib.staticfiles", "shop"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "shop.middleware.HeadersMiddleware",
    "shop.middleware.OutageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
TIME_ZONE = "UTC"
STATIC_URL = "static/"
# WhiteNoise serves the static files of the apps.
WHITENOISE_USE_FINDERS = True

# Sessions are in the default cache, which is the memory of the process. In production, set CACHES to a cache that all
# processes share, such as Redis.
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
CSRF_USE_SESSIONS = True
# Browsers send cookies with this flag over https only.
SESSION_COOKIE_SECURE = IS_HTTPS
# Behind a proxy that ends TLS, Django sees http, and would reject the origin of the posted form.
CSRF_TRUSTED_ORIGINS = [SHOP_ORIGIN] if IS_HTTPS else []

# Without this, Django logs errors to the console in the debug mode only.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

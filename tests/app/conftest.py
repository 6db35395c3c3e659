"""The app on a planted bundle (see ``planted_pages``)."""

from planted_pages import assets, planted_app  # noqa: F401

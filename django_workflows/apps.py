"""The Django app: finds every installed app's ``workflows`` module and connects the calling side."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class DjangoWorkflowsConfig(AppConfig):
    name = "django_workflows"
    label = "django_workflows"
    verbose_name = _("Workflows")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import api, logs, observers
        from .authoring.client import install_client
        from .deploys import (
            lint_check,  # noqa: F401 - registers the checks of bodies
        )

        install_client(api.client)
        logs.silence_replays()
        observers.install()
        autodiscover_modules("workflows")

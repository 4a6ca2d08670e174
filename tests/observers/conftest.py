"""The fixture of the kit."""

from django_workflows.testing.plugin import workflows

__all__ = ["workflows"]

"""The fixture of the kit, also where the package is not installed and its entry point unknown."""

from django_workflows.testing.plugin import workflows

__all__ = ["workflows"]

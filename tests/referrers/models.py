"""Foreign keys to runs and to their rows, one for each way of deleting."""

from django.db import models


class Receipt(models.Model):
    """Outlives the run that it names."""

    run = models.ForeignKey("django_workflows.Run", null=True, on_delete=models.SET_NULL)


class StepNote(models.Model):
    """Goes with its step."""

    step = models.ForeignKey("django_workflows.Step", on_delete=models.CASCADE)


class Audit(models.Model):
    """Keeps the run that it names."""

    run = models.ForeignKey("django_workflows.Run", on_delete=models.PROTECT)


class Pointer(models.Model):
    """Nothing but the constraint of the database keeps the run that it names."""

    run = models.ForeignKey("django_workflows.Run", on_delete=models.DO_NOTHING)

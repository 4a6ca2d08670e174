"""References to model instances, for arguments and results: which one, not what was in it.

A model instance cannot be passed to a workflow or a step: it would be a stale copy by the time it is used. The plain
way is to pass its primary key. A ``ModelRef`` is that key with the model and the database it belongs to::

    run = fulfil_order.start(ModelRef.of(order))

    @step(atomic=True)
    def mark_paid(ref: ModelRef[Order], charge_id: str) -> None:
        order = ref.get()  # as it is now
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar
from zlib import crc32

from ..exceptions import FatalError, WorkflowSandboxError
from ..serialization import register_type
from .runtime import body

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

    M = TypeVar("M", bound=Model)
else:
    M = TypeVar("M")


class ObjectGoneError(FatalError):
    """The object has been deleted since the reference was made. A step that raises it is not retried.

    ``label`` (``"shop.Order"``), ``pk`` and ``database`` say which one.
    """

    def __init__(self, label: str, pk: Any, database: str) -> None:
        super().__init__(label, pk, database)
        self.label, self.pk, self.database = label, pk, database

    def __str__(self) -> str:
        return f"{self.label} {self.pk!r} is not in the database {self.database!r} any more."


class ModelRef(Generic[M]):
    """A model instance by its ``label`` (``"shop.Order"``), ``pk`` and ``database`` alias. References are values."""

    __slots__ = ("database", "label", "pk")

    def __init__(self, label: str, pk: Any, database: str = "default") -> None:
        self.label, self.pk, self.database = label, pk, database

    @classmethod
    def of(cls, instance: M) -> Self:
        """The reference to a saved instance. Raises ``TypeError`` or ``ValueError`` for anything else."""
        from django.db.models import Model

        if not isinstance(instance, Model):
            raise TypeError(f"ModelRef.of() takes a model instance, not {type(instance).__name__}.")
        if instance.pk is None or instance._state.adding:
            raise ValueError(
                f"This {instance._meta.label} has not been saved, so it cannot be found again: save it first."
            )
        return cls(instance._meta.label, instance.pk, instance._state.db or "default")

    def queryset(self) -> QuerySet[M]:
        """A queryset of just this object, for ``select_for_update()``, ``select_related()`` and the like."""
        if body() is not None:
            raise WorkflowSandboxError(
                f"A workflow body cannot load {self}: what is in it differs on replay. Pass the reference to a step, "
                "and load it there."
            )
        from django.apps import apps

        model: Any = apps.get_model(self.label)
        rows: QuerySet[M] = model._base_manager.using(self.database).filter(pk=self.pk)
        return rows

    def get(self) -> M:
        """The object as it is now, in a step.

        Raises:
            ObjectGoneError: it has been deleted. WorkflowSandboxError: called in a workflow body.
        """
        found = self.queryset().first()
        if found is None:
            raise ObjectGoneError(self.label, self.pk, self.database)
        return found

    async def aget(self) -> M:
        """As :meth:`get`, in an ``async def`` step."""
        found = await self.queryset().afirst()
        if found is None:
            raise ObjectGoneError(self.label, self.pk, self.database)
        return found

    def _key(self) -> tuple[str, Any, str]:
        return self.label, self.pk, self.database

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelRef) and other._key() == self._key()

    def __hash__(self) -> int:
        return crc32(repr(self._key()).encode())  # not hash(): the same in every process

    def __repr__(self) -> str:
        return f"<{self.label} {self.pk!r}>"


register_type(
    ModelRef,
    encode=lambda ref: [ref.label, ref.pk, ref.database],
    decode=lambda content: ModelRef(*content),
    name="model",
)

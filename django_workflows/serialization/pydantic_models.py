"""Pydantic models, where pydantic is installed: a copy of their state, as pydantic's own copying does it.

Validators do not run again: what is read back is what was written, even after a validator has been made stricter.
"""

from __future__ import annotations

from typing import Any

from ..exceptions import SerializationError
from .refusals import loaded
from .registration import MARK, Lowering, Unencodable, Writer, declare_finder, declare_tag
from .tags import find_class, reference


def _is_model(cls: type) -> bool:
    base = loaded("pydantic.main", "BaseModel")
    return isinstance(base, type) and issubclass(cls, base)


def _is_url(cls: type) -> bool:
    bases = tuple(base for base in (loaded("pydantic", "AnyUrl"), loaded("pydantic.networks", "_BaseUrl")) if base)
    return issubclass(cls, bases)


def _find(kind: type, value: Any) -> Writer | None:
    if _is_model(kind):
        name = reference(kind)
        return lambda value, lower: {MARK: "pydantic", "c": name, **_write_state(value, lower)}
    if loaded("pydantic.networks", "AnyUrl") is not None and _is_url(kind):
        name = reference(kind)
        return lambda value, lower: {MARK: "pydantic_url", "c": name, "v": str(value)}
    if kind.__module__ == "pydantic.types" and kind.__name__ in ("SecretStr", "SecretBytes"):
        raise Unencodable("A secret would be stored readable in the log. Pass what names it, and load it in the step.")
    return None


def _write_state(value: Any, lower: Lowering) -> dict[str, Any]:
    state = value.__getstate__()
    content: dict[str, Any] = {"v": lower.fields(state["__dict__"].items()), "set": sorted(value.model_fields_set)}
    if state["__pydantic_extra__"]:
        content["extra"] = lower(dict(state["__pydantic_extra__"]))
    if state["__pydantic_private__"]:
        content["private"] = lower.fields(state["__pydantic_private__"].items())
    return content


def _read(content: dict[str, Any]) -> Any:
    cls: Any = find_class(content["c"])
    if not _is_model(cls):
        raise SerializationError(f"{content['c']} is not a pydantic model any more.")
    fields = cls.model_fields
    values = {name: item for name, item in content["v"].items() if name in fields}
    for name, field in fields.items():  # what the class has gained since
        if name not in values:
            if field.is_required():
                raise SerializationError(f"{content['c']} now requires {name!r}, which the log does not have.")
            values[name] = field.get_default(call_default_factory=True, validated_data=values)
    extra = content.get("extra") or ({} if cls.model_config.get("extra") == "allow" else None)
    # A model made without validation has the private defaults, and its extras and fields where they belong.
    value = cls.model_construct()
    private = value.__pydantic_private__
    if "private" in content:
        private = {**(private or {}), **content["private"]}
    value.__setstate__(
        {
            "__dict__": values,
            "__pydantic_extra__": extra,
            "__pydantic_fields_set__": set(content["set"]) & (fields.keys() | (extra or {}).keys()),
            "__pydantic_private__": private,
        }
    )
    return value


def _read_url(content: dict[str, Any]) -> Any:
    cls: Any = find_class(content["c"])
    if not _is_url(cls):
        raise SerializationError(f"{content['c']} is not a URL type any more.")
    return cls(content["v"])


declare_finder(_find)
declare_tag("pydantic", _read)
declare_tag("pydantic_url", _read_url)

"""The forms of the actions: why, and what to deliver to a hook."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from ..authoring.http import WebhookRequest
from ..models import Hook

_FIELDS: dict[str, type[forms.Field]] = {
    "BooleanField": forms.BooleanField,
    "CharField": forms.CharField,
    "ChoiceField": forms.ChoiceField,
    "DateField": forms.DateField,
    "DateTimeField": forms.DateTimeField,
    "DecimalField": forms.DecimalField,
    "EmailField": forms.EmailField,
    "FloatField": forms.FloatField,
    "IntegerField": forms.IntegerField,
    "MultipleChoiceField": forms.MultipleChoiceField,
    "TimeField": forms.TimeField,
    "URLField": forms.URLField,
    "UUIDField": forms.UUIDField,
}


class ReasonForm(forms.Form):
    """Why something is done: kept in the log or in the history, whichever the action writes."""

    reason = forms.CharField(
        label=_("Why"),
        max_length=500,
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
        help_text=_("Goes into the history, with your name."),
    )

    def __init__(self, *args: Any, required: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = required


class ResumeForm(ReasonForm):
    """A payload as JSON."""

    payload = forms.CharField(
        label=_("Payload (JSON)"),
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField wf-code", "spellcheck": "false"}),
        initial="{}",
        help_text=_("What the run gets from its hook. Numbers, texts in double quotes, lists and objects."),
    )
    field_order = ["payload", "reason"]

    def clean_payload(self) -> Any:
        return _json(self.cleaned_data["payload"])

    def delivery(self) -> Any:
        """What to pass to ``api.resume_hook``."""
        return self.cleaned_data["payload"]

    def refuse(self, errors: Any) -> None:
        """Show what the hook's serializer says about the payload."""
        self.add_error("payload", _lines(errors))


class WebhookForm(ReasonForm):
    """A request, as a caller of the webhook would send it."""

    method = forms.ChoiceField(label=_("Method"), choices=[(m, m) for m in ("POST", "PUT", "GET", "PATCH", "DELETE")])
    content_type = forms.CharField(label=_("Content type"), initial="application/json", required=False, max_length=200)
    body = forms.CharField(
        label=_("Body"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField wf-code", "spellcheck": "false"}),
    )
    field_order = ["method", "content_type", "body", "reason"]

    def delivery(self) -> WebhookRequest:
        kind = self.cleaned_data["content_type"]
        headers = {"Content-Type": kind} if kind else {}
        return WebhookRequest(self.cleaned_data["method"], headers=headers, body=self.cleaned_data["body"].encode())

    def refuse(self, errors: Any) -> None:
        self.add_error("body", _lines(errors))


class SchemaForm(ReasonForm):
    """One field for each field of the hook's serializer. The serializer has the last word, as for every delivery."""

    def __init__(self, *args: Any, serializer: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        reason = self.fields.pop("reason")
        self._names: dict[str, str] = {}
        for name, field in serializer.fields.items():
            if not (field.read_only or type(field).__name__ == "HiddenField"):
                self._names[f"payload_{name}"] = name
                self.fields[f"payload_{name}"] = _form_field(name, field)
        self.fields["reason"] = reason

    def delivery(self) -> dict[str, Any]:
        """The text that was typed, for the serializer to read; what was left empty is left out."""
        payload = {}
        for key, name in self._names.items():
            field = self.fields[key]
            value = self.cleaned_data.get(key)
            if isinstance(field, (_JSONField, forms.BooleanField, forms.MultipleChoiceField)):
                if value is not None or field.required:
                    payload[name] = value
            elif value not in (None, ""):
                payload[name] = self[key].value()
        return payload

    def refuse(self, errors: Any) -> None:
        for name, problems in errors.items() if isinstance(errors, dict) else [(None, errors)]:
            key = f"payload_{name}"
            self.add_error(key if key in self.fields else None, _lines(problems))


class _JSONField(forms.CharField):
    widget = forms.Textarea

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return _json(text) if text else None


def _form_field(name: str, field: Any) -> forms.Field:
    """The form field that fits a serializer's field best; JSON where there is none."""
    names = [cls.__name__ for cls in type(field).__mro__]
    kind = next((_FIELDS[n] for n in names if n in _FIELDS), _JSONField)
    label = str(field.label or name)
    options: dict[str, Any] = {
        "label": label,
        "required": bool(field.required) and kind is not forms.BooleanField,
        "help_text": str(field.help_text or ""),
    }
    if not _is_empty(field.initial):
        options["initial"] = field.initial
    if issubclass(kind, (forms.ChoiceField, forms.MultipleChoiceField)):
        blank = [] if options["required"] or kind is forms.MultipleChoiceField else [("", "—")]
        options["choices"] = blank + [(value, str(text)) for value, text in field.choices.items()]
    if kind is forms.CharField and field.max_length:
        options["max_length"] = field.max_length
    if kind is _JSONField:
        options["widget"] = forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField wf-code"})
        options["help_text"] = options["help_text"] or str(_("As JSON."))
    return kind(**options)


def _is_empty(initial: Any) -> bool:
    return initial in (None, "", [], {}) or type(initial).__name__ == "empty" or callable(initial)


def hook_form(hook: Hook) -> tuple[type[ReasonForm], dict[str, Any]]:
    """The form class that fits what the hook takes, and its arguments."""
    if hook.is_webhook:
        return WebhookForm, {}
    path = (hook.options or {}).get("schema")
    if path:
        try:
            serializer = import_string(path)()
        except (ImportError, TypeError):  # the class has gone: the delivery itself will say so
            return ResumeForm, {}
        if hasattr(serializer, "fields"):
            return SchemaForm, {"serializer": serializer}
    return ResumeForm, {}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise forms.ValidationError(_("This is not JSON: %(why)s"), params={"why": error}) from None


def _lines(errors: Any) -> list[str]:
    """Errors of a serializer, however nested, as sentences."""
    if isinstance(errors, dict):
        return [f"{key}: {line}" for key, value in errors.items() for line in _lines(value)]
    if isinstance(errors, (list, tuple)):
        return [line for value in errors for line in _lines(value)]
    return [str(errors)]

"""Local times of SQLite databases become UTC.

Release 0.1 stored times there in the project's own zone where ``USE_TZ`` was off or the database had a ``TIME_ZONE``. In
the hour that came twice the first reading is taken: the text does not say which it was.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import migrations

_BATCH = 1000


def _zone(connection):
    if settings.USE_TZ:
        return ZoneInfo(connection.settings_dict.get("TIME_ZONE") or "UTC")
    return ZoneInfo(settings.TIME_ZONE or "UTC")


def _moments(model):
    from django_workflows.models import MomentField

    return [field.column for field in model._meta.fields if isinstance(field, MomentField)]


def to_utc(apps, schema_editor):
    connection = schema_editor.connection
    if connection.vendor != "sqlite":
        return
    zone = _zone(connection)
    if zone.key == "UTC":
        return
    for model in apps.get_app_config("django_workflows").get_models():
        table = model._meta.db_table
        for column in _moments(model):
            with connection.cursor() as cursor:
                cursor.execute(f'SELECT rowid, "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
                changed = [(_in_utc(text, zone), rowid) for rowid, text in cursor.fetchall()]
                for start in range(0, len(changed), _BATCH):
                    cursor.executemany(f'UPDATE "{table}" SET "{column}" = %s WHERE rowid = %s', changed[start : start + _BATCH])


def _in_utc(text, zone):
    moment = datetime.fromisoformat(str(text)).replace(tzinfo=zone)
    return str(moment.astimezone(UTC).replace(tzinfo=None))


class Migration(migrations.Migration):
    dependencies = [("django_workflows", "0004_start_permission")]

    operations = [migrations.RunPython(to_utc, migrations.RunPython.noop, elidable=True)]

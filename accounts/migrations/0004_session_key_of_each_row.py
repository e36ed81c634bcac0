from typing import Any

from django.db import migrations, models
from django.db.models.functions import UUID4

BATCH = 5000
TABLE = "accounts_apisession"


def fill(apps: Any, schema_editor: Any) -> None:
    """Give each session its own random key, in batches that are committed one by one."""
    alias = schema_editor.connection.alias
    sessions = apps.get_model("accounts", "ApiSession").objects.using(alias).filter(key=None)
    last = 0
    while ids := sessions.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]:
        last = max(ids)
        sessions.filter(pk__in=list(ids)).update(key=UUID4())


class Migration(migrations.Migration):
    """Not one transaction, so that the service goes on meanwhile. It can be run again."""

    atomic = False

    dependencies = [
        ("accounts", "0003_session_key"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        # Checked beforehand, so that the column need not be read again under a lock.
        migrations.RunSQL(
            [
                f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS session_has_key",
                f"ALTER TABLE {TABLE} ADD CONSTRAINT session_has_key CHECK (key IS NOT NULL) NOT VALID",
                f"ALTER TABLE {TABLE} VALIDATE CONSTRAINT session_has_key",
            ],
            migrations.RunSQL.noop,
        ),
        migrations.AlterField(
            model_name="apisession",
            name="key",
            field=models.UUIDField(
                db_default=UUID4(),
                editable=False,
                help_text="What the token names. No other row ever has it.",
            ),
        ),
        migrations.RunSQL(
            f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS session_has_key", migrations.RunSQL.noop
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    [
                        "DROP INDEX CONCURRENTLY IF EXISTS session_key",
                        f"CREATE UNIQUE INDEX CONCURRENTLY session_key ON {TABLE} (key)",
                        f"ALTER TABLE {TABLE} ADD CONSTRAINT session_key UNIQUE USING INDEX session_key",
                    ],
                    f"ALTER TABLE {TABLE} DROP CONSTRAINT session_key",
                )
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="apisession",
                    constraint=models.UniqueConstraint(fields=("key",), name="session_key"),
                )
            ],
        ),
    ]

from django.db import migrations, models
from django.db.models.functions import UUID4


class Migration(migrations.Migration):
    """Columns that are added without rewriting the table.

    With the default at once, each row would be written anew under a lock: a random value differs
    from row to row. The next migration gives the rows that there are their keys.
    """

    dependencies = [
        ("accounts", "0002_sign_in_attempts"),
    ]

    operations = [
        migrations.AddField(
            model_name="apisession",
            name="key",
            field=models.UUIDField(null=True, editable=False),
        ),
        migrations.AlterField(
            model_name="apisession",
            name="key",
            field=models.UUIDField(null=True, db_default=UUID4(), editable=False),
        ),
    ]

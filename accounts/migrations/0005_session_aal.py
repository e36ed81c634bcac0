from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_session_key_of_each_row"),
    ]

    operations = [
        migrations.AddField(
            model_name="apisession",
            name="aal",
            field=models.SmallIntegerField(
                db_default=1,
                editable=False,
                help_text="2 if the last Supabase token exchanged had a second factor, otherwise 1.",
                verbose_name="assurance level",
            ),
        ),
    ]

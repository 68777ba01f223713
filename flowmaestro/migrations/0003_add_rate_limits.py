"""Budgets of callers: an unlogged table whose rows are updated in place, and often."""

from django.db import migrations, models

# By hand, for what Django's models cannot say; and without the index for LIKE, which would only
# make each update dearer.
TABLE = """
CREATE UNLOGGED TABLE flowmaestro_ratelimit (
  key text NOT NULL PRIMARY KEY,
  whole_at double precision NOT NULL,
  is_allowed boolean NOT NULL,
  at double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)
"""


class Migration(migrations.Migration):
    dependencies = [("flowmaestro", "0002_add_key_reach")]

    operations = [
        migrations.RunSQL(
            TABLE,
            "DROP TABLE flowmaestro_ratelimit",
            state_operations=[
                migrations.CreateModel(
                    name="RateLimit",
                    fields=[
                        ("key", models.TextField(primary_key=True, serialize=False)),
                        (
                            "whole_at",
                            models.FloatField(help_text="When the budget is whole again."),
                        ),
                        (
                            "is_allowed",
                            models.BooleanField(
                                help_text="Whether the last request was let through."
                            ),
                        ),
                        ("at", models.FloatField(help_text="When it came.")),
                    ],
                    options={"default_permissions": ()},
                )
            ],
        )
    ]

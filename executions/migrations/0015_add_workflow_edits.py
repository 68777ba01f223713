"""Workflows can be deleted without their versions, and a workspace has one of a name."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now

# Two first saves at one moment could make two workflows of a name. The newest one keeps it: that
# is the one that later saves went to.
ONE_OF_A_NAME = """
UPDATE executions_workflow w SET name = w.name || ' (' || w.id || ')'
FROM (SELECT id, row_number() OVER (PARTITION BY workspace_id, name ORDER BY id DESC) AS place
      FROM executions_workflow) x
WHERE x.id = w.id AND x.place > 1
"""
LAST_SAVED = """
UPDATE executions_workflow w SET updated_at = v.last
FROM (SELECT workflow_id, max(created_at) AS last FROM executions_workflowversion GROUP BY 1) v
WHERE v.workflow_id = w.id
"""


class Migration(migrations.Migration):
    """When a workflow was last changed and when it was deleted."""

    dependencies: ClassVar = [("executions", "0014_add_token_addresses")]

    operations: ClassVar = [
        migrations.AddField(
            model_name="workflow",
            name="updated_at",
            field=models.DateTimeField(db_default=Now()),
        ),
        migrations.AddField(
            model_name="workflow",
            name="deleted_at",
            field=models.DateTimeField(
                blank=True, help_text="Its versions stay: runs point at them.", null=True
            ),
        ),
        migrations.RunSQL(ONE_OF_A_NAME, migrations.RunSQL.noop),
        migrations.RunSQL(LAST_SAVED, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="workflow",
            constraint=models.UniqueConstraint(
                condition=Q(("deleted_at__isnull", True)), fields=("workspace", "name"),
                name="workflow_name_once", nulls_distinct=False,
            ),
        ),
    ]  # fmt: skip

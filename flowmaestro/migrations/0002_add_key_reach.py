"""API keys belong to a workspace, and are kept sealed to check what was signed with them."""

from __future__ import annotations

from typing import Any, ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from executions.rules.ids import new_id


def move_in(apps: Any, schema_editor: Any) -> None:
    """Gives each key the personal workspace of its user; keys of the staff keep seeing all."""
    keys = apps.get_model("flowmaestro", "ApiKey")
    workspaces = apps.get_model("executions", "Workspace")
    memberships = apps.get_model("executions", "Membership")
    for key in keys.objects.select_related("user"):
        workspace, is_new = workspaces.objects.get_or_create(
            personal_of=key.user,
            defaults={"id": new_id("workspace"), "name": key.user.get_username()},
        )
        if is_new:
            memberships.objects.create(workspace=workspace, user=key.user, role="admin")
        key.workspace = workspace
        key.all_workspaces = key.user.is_staff or key.user.is_superuser
        key.save(update_fields=["workspace", "all_workspaces"])
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    schema_editor.execute("SET CONSTRAINTS ALL DEFERRED")


class Migration(migrations.Migration):
    """Add the workspace, fill it, constrain it; room for the sealed key."""

    dependencies: ClassVar = [
        ("executions", "0012_add_workspaces"),
        ("flowmaestro", "0001_vector_and_api_key"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.AddField(
            model_name="apikey",
            name="workspace",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="api_keys",
                to="executions.workspace",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="all_workspaces",
            field=models.BooleanField(
                default=False,
                help_text="Of a member of the staff: shows what belongs to any or to none.",
            ),
        ),
        migrations.RunPython(move_in, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="apikey",
            name="workspace",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="api_keys",
                to="executions.workspace",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="sealed",
            field=models.BinaryField(
                help_text="The key under the master key, to check what was signed with it.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="apikey", name="wrapped_key", field=models.BinaryField(null=True)
        ),
        migrations.AddField(
            model_name="apikey",
            name="sealed_with",
            field=models.TextField(blank=True, default=""),
        ),
    ]  # fmt: skip

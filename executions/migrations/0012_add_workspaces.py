"""Workspaces: who sees what. Whatever has an owner moves into the owner's personal one."""

from __future__ import annotations

from typing import Any, ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now

import executions.models.fields
from executions.rules.ids import new_id

# A run that calls hooks belongs where the run does whose end it follows.
HOOKS = """
CREATE OR REPLACE FUNCTION executions_start_hook_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO executions_run (
    id, task, status, queue, priority, due_at, parent_id, parent_close, root_id, owner_id,
    workspace_id, tags, event_seq, active_ms, attempt, stalls, wakes, flush_no, op_seq)
  VALUES (
    NEW.hook_run, 'run-hooks', 'QUEUED', 'run-hooks', NEW.priority,
    flowmaestro_now() - make_interval(secs => NEW.priority), NEW.id, 'ABANDON', NEW.root_id,
    NEW.owner_id, NEW.workspace_id, NEW.tags, 1, 0, 1, 0, 0, 0, 0)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    INSERT INTO executions_rundata (run_id, payload, metadata, first_metadata)
    VALUES (NEW.hook_run, json_build_object('run', NEW.id), '{}', '{}');
    INSERT INTO executions_runevent (run_id, seq, type, data)
    VALUES (NEW.hook_run, 1, 'run.queued', json_build_object('task', 'run-hooks'));
    PERFORM pg_notify('flowmaestro_runs', '');
  END IF;
  RETURN NULL;
END $$;
"""
SCOPE_IN_KEY = """
ALTER TABLE executions_debounce DROP CONSTRAINT executions_debounce_pkey,
  ADD CONSTRAINT executions_debounce_pkey PRIMARY KEY (task, scope, key)
"""


def move_in(apps: Any, schema_editor: Any) -> None:
    """Makes a personal workspace for everybody who owns something, and moves it there."""
    users = apps.get_model(settings.AUTH_USER_MODEL)
    kinds = [apps.get_model("executions", name) for name in ("Run", "Workflow", "Connection")]
    workspaces = apps.get_model("executions", "Workspace")
    memberships = apps.get_model("executions", "Membership")
    tokens = apps.get_model("executions", "WaitToken")
    for user in users.objects.all():
        owned = [kind.objects.filter(owner=user) for kind in kinds]
        if not any(rows.exists() for rows in owned):
            continue
        workspace = workspaces.objects.create(
            id=new_id("workspace"), name=user.get_username(), personal_of=user
        )
        memberships.objects.create(workspace=workspace, user=user, role="admin")
        for rows in owned:
            rows.update(workspace=workspace)
        tokens.objects.filter(run__owner=user).update(workspace=workspace)
    # What follows alters the tables, which no check may wait for.
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    schema_editor.execute("SET CONSTRAINTS ALL DEFERRED")


def _workspace(related_name: str, **more: Any) -> Any:
    return models.ForeignKey(
        "executions.workspace", null=True, blank=True,
        on_delete=django.db.models.deletion.PROTECT, related_name=related_name, **more,
    )  # fmt: skip


class Migration(migrations.Migration):
    """Workspaces and memberships, and where runs, workflows, connections and tokens belong."""

    dependencies: ClassVar = [
        ("executions", "0011_add_clean_up_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Workspace",
            fields=[
                (
                    "id",
                    executions.models.fields.IdField(
                        db_collation="C", primary_key=True, serialize=False
                    ),
                ),
                ("name", models.TextField()),
                ("created_at", models.DateTimeField(db_default=Now())),
                (
                    "personal_of",
                    models.OneToOneField(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL,
                        related_name="personal_workspace", to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ("-id",)},
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.TextField(
                        choices=[("viewer", "viewer"), ("member", "member"), ("admin", "admin")]
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now())),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memberships",
                        to="executions.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
                "constraints": (
                    models.UniqueConstraint(fields=("workspace", "user"), name="member_once"),
                    models.CheckConstraint(
                        condition=Q(role__in=["viewer", "member", "admin"]),
                        name="member_role_known",
                    ),
                ),
            },
        ),
        migrations.RemoveConstraint(model_name="connection", name="connection_name_once"),
        migrations.RemoveIndex(model_name="connection", name="connection_of_provider"),
        migrations.RemoveIndex(model_name="run", name="run_of_owner"),
        migrations.AlterField(
            model_name="connection",
            name="owner",
            field=models.ForeignKey(
                blank=True, db_index=False, help_text="Who stored it.", null=True,
                on_delete=django.db.models.deletion.SET_NULL, related_name="connections",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="source",
            field=models.TextField(
                blank=True, null=True,
                help_text="The id of what started it: a schedule, trigger or batch.",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="workspace",
            field=_workspace(
                "runs", db_constraint=False, db_index=False,
                help_text="Nobody's: the installation's own, which its staff see.",
            ),
        ),
        migrations.AddField(
            model_name="waittoken",
            name="workspace",
            field=_workspace("tokens", db_constraint=False, db_index=False),
        ),
        migrations.AddField(
            model_name="workflow",
            name="workspace",
            field=_workspace("workflows", help_text="None: shared by the whole installation."),
        ),
        migrations.AddField(
            model_name="connection",
            name="workspace",
            field=_workspace(
                "connections", db_index=False, help_text="None: shared by the whole installation."
            ),
        ),
        migrations.AddField(
            model_name="debounce",
            name="scope",
            field=models.TextField(db_default="global"),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(SCOPE_IN_KEY, migrations.RunSQL.noop)],
            state_operations=[
                migrations.AlterField(
                    model_name="debounce",
                    name="pk",
                    field=models.CompositePrimaryKey(
                        "task", "scope", "key", blank=True, editable=False, primary_key=True,
                        serialize=False,
                    ),
                ),
            ],
        ),
        migrations.RunSQL(HOOKS, migrations.RunSQL.noop),
        migrations.RunPython(move_in, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="connection",
            index=models.Index(fields=["provider", "workspace"], name="connection_of_provider"),
        ),
        migrations.AddConstraint(
            model_name="connection",
            constraint=models.UniqueConstraint(
                fields=("workspace", "name"), name="connection_name_once", nulls_distinct=False
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=Q(("workspace__isnull", False)), fields=["workspace", "id"],
                name="run_of_workspace",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=Q(("source__isnull", False)), fields=["source", "id"],
                name="run_of_source",
            ),
        ),
    ]  # fmt: skip

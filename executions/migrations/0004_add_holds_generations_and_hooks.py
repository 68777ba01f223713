"""What a run needs to be paused, to continue as new, to show state, and to call hooks at its end."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import executions.models.fields

# Whoever ends a run, by whatever way, starts the run that calls its task's hooks: in the same
# statement, so that no ending can be missed.
HOOKS = """
CREATE FUNCTION executions_start_hook_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO executions_run (
    id, task, status, queue, priority, due_at, parent_id, parent_close, root_id, owner_id, tags,
    event_seq, active_ms, attempt, stalls, wakes, flush_no, op_seq)
  VALUES (
    NEW.hook_run, 'run-hooks', 'QUEUED', 'run-hooks', NEW.priority,
    flowmaestro_now() - make_interval(secs => NEW.priority), NEW.id, 'ABANDON', NEW.root_id,
    NEW.owner_id, NEW.tags, 1, 0, 1, 0, 0, 0, 0)
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

CREATE TRIGGER run_start_hook_run AFTER UPDATE ON executions_run FOR EACH ROW
WHEN (NEW.hook_run IS NOT NULL AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
EXECUTE FUNCTION executions_start_hook_run();
"""


class Migration(migrations.Migration):
    """Adds columns, the steps of earlier generations, and the start of hook runs."""

    dependencies: ClassVar = [("executions", "0003_add_queues")]

    operations: ClassVar = [
        migrations.AddField(
            "run",
            "generation",
            models.IntegerField(
                db_default=0,
                help_text="How often it has continued as new; each has a journal of its own.",
            ),
        ),
        migrations.AddField(
            "run",
            "hook_run",
            models.TextField(
                blank=True,
                help_text="The run that its end starts, to call the task's hooks.",
                null=True,
            ),
        ),
        migrations.AddField(
            "run", "pause_requested_at", models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            "rundata",
            "exposed",
            executions.models.fields.OrderedJSONField(
                blank=True, help_text="State declared by ctx.expose, for queries.", null=True
            ),
        ),
        migrations.CreateModel(
            name="PastStep",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id",
                        "generation",
                        "key",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("generation", models.IntegerField()),
                ("key", models.TextField()),
                ("kind", models.TextField()),
                ("status", models.TextField()),
                ("seq", models.IntegerField(blank=True, null=True)),
                ("attempt", models.IntegerField()),
                ("input", executions.models.fields.OrderedJSONField(blank=True, null=True)),
                ("output", executions.models.fields.OrderedJSONField(blank=True, null=True)),
                ("error", models.JSONField(blank=True, null=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="past_steps",
                        to="executions.run",
                    ),
                ),
            ],
            options={"ordering": ("generation", "started_at", "key")},
        ),
        migrations.RunSQL(
            HOOKS,
            "DROP TRIGGER run_start_hook_run ON executions_run; DROP FUNCTION executions_start_hook_run()",
        ),
    ]

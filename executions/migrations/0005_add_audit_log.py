"""The audit log: numbered without a gap, chained by hashes, never changed."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
import django.db.models.functions
from django.conf import settings
from django.db import migrations, models

# Numbers come from the chain and not from a sequence: one writer at a time, so that a missing
# entry shows.
CHAIN = """
CREATE FUNCTION executions_audit_hash(e executions_auditentry) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT encode(sha256(convert_to(json_build_array(
    e.number, extract(epoch FROM e.at)::text, e.actor, e.user_id, e.action, e.subject, e.reason,
    e.before, e.after, e.previous_hash)::text, 'UTF8')), 'hex')
$$;

CREATE FUNCTION executions_audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE newest executions_auditentry;
BEGIN
  PERFORM pg_advisory_xact_lock(7305142);
  SELECT * INTO newest FROM executions_auditentry ORDER BY number DESC LIMIT 1;
  NEW.number := coalesce(newest.number, 0) + 1;
  NEW.at := flowmaestro_now();
  NEW.previous_hash := coalesce(newest.hash, '');
  NEW.hash := executions_audit_hash(NEW);
  RETURN NEW;
END $$;

CREATE FUNCTION executions_audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'The audit log is append-only; entry % stays as it is.', OLD.number
    USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER audit_chain BEFORE INSERT ON executions_auditentry FOR EACH ROW
EXECUTE FUNCTION executions_audit_chain();
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON executions_auditentry FOR EACH ROW
EXECUTE FUNCTION executions_audit_stays();
"""


class Migration(migrations.Migration):
    """Adds the table and its rules."""

    dependencies: ClassVar = [
        ("executions", "0004_add_holds_generations_and_hooks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("number", models.BigIntegerField(db_default=0, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.Now())),
                (
                    "actor",
                    models.TextField(help_text="Who: a user's name, a key's name, a command."),
                ),
                ("action", models.TextField(help_text="What: run.cancel, queue.pause, ...")),
                (
                    "subject",
                    models.TextField(help_text="To whom: the id of a run, a token, a queue."),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("before", models.JSONField(default=dict)),
                ("after", models.JSONField(default=dict)),
                ("previous_hash", models.TextField(db_default="")),
                ("hash", models.TextField(db_default="")),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "ordering": ("-number",),
                "indexes": [models.Index(fields=["subject", "number"], name="audit_of_subject")],
            },
        ),
        migrations.RunSQL(
            CHAIN,
            "DROP TRIGGER audit_stays ON executions_auditentry; "
            "DROP TRIGGER audit_chain ON executions_auditentry; "
            "DROP FUNCTION executions_audit_stays(); DROP FUNCTION executions_audit_chain(); "
            "DROP FUNCTION executions_audit_hash(executions_auditentry)",
        ),
    ]

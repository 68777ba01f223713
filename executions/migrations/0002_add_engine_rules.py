"""The engine's clock, the rule that a final run never changes, and room for HOT updates."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

CLOCK = """
CREATE FUNCTION flowmaestro_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT statement_timestamp()';
"""

FINAL_IS_FINAL = """
CREATE FUNCTION executions_run_final_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'Run % is final (%); its status, output, error and finished_at never change.',
    OLD.id, OLD.status USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER run_final_is_final BEFORE UPDATE ON executions_run FOR EACH ROW
WHEN (OLD.finished_at IS NOT NULL AND (
  OLD.status IS DISTINCT FROM NEW.status OR OLD.output::text IS DISTINCT FROM NEW.output::text OR
  OLD.error IS DISTINCT FROM NEW.error OR OLD.finished_at IS DISTINCT FROM NEW.finished_at))
EXECUTE FUNCTION executions_run_final_is_final();
"""

# A flush rewrites the run's row: with room on the page the new version stays there, and no index
# is touched. Steps are updated once or twice each.
STORAGE = """
ALTER TABLE executions_run SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE executions_step SET (fillfactor = 85);
"""

# Django gives text columns a second index for LIKE. Ids compare byte by byte already, nobody
# searches the other columns so, and each such index would cost the hot path a write.
NO_LIKE_INDEXES = r"""
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT indexname FROM pg_indexes
    WHERE schemaname = current_schema() AND tablename LIKE 'executions\_%'
      AND indexname LIKE '%\_like'
  LOOP EXECUTE format('DROP INDEX %I', name); END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    """Adds functions, a trigger and storage parameters."""

    dependencies: ClassVar = [("executions", "0001_initial")]

    operations: ClassVar = [
        migrations.RunSQL(CLOCK, "DROP FUNCTION flowmaestro_now()"),
        migrations.RunSQL(
            FINAL_IS_FINAL,
            "DROP TRIGGER run_final_is_final ON executions_run; "
            "DROP FUNCTION executions_run_final_is_final()",
        ),
        migrations.RunSQL(NO_LIKE_INDEXES, migrations.RunSQL.noop),
        migrations.RunSQL(
            STORAGE,
            "ALTER TABLE executions_run RESET (fillfactor, autovacuum_vacuum_scale_factor); "
            "ALTER TABLE executions_step RESET (fillfactor)",
        ),
    ]

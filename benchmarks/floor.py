"""The floor under W1: one claim and ten one-statement commits by raw psycopg, no engine at all."""

import time

import psycopg

from benchmarks.workloads import Place, Timeline

SCHEMA = """
DROP TABLE IF EXISTS floor_step, floor_run;
CREATE TABLE floor_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text, worker int
);
CREATE INDEX ON floor_run (id) WHERE status = 'QUEUED';
CREATE TABLE floor_step (run bigint, key text, output jsonb, PRIMARY KEY (run, key));
"""
QUEUE = "INSERT INTO floor_run (status) VALUES ('QUEUED')"
CLAIM = """
UPDATE floor_run SET status = 'EXECUTING', worker = 1
 WHERE id = (SELECT id FROM floor_run WHERE status = 'QUEUED'
              ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
STEP = "INSERT INTO floor_step (run, key, output) VALUES (%s, %s, %s)"


class Floor:
    """Measures W1 alone; the queueing INSERT lies outside its time."""

    def __init__(self, place: Place) -> None:
        self.version = f"psycopg {psycopg.__version__}"
        self._dsn = place.dsn

    def start(self) -> None:
        """Connect and create the tables."""
        self._connection = psycopg.connect(self._dsn, autocommit=True, prepare_threshold=1)
        self._connection.execute(SCHEMA)

    def stop(self) -> None:
        """Close the connection."""
        self._connection.close()

    def run_sequence(self, steps: int) -> Timeline:
        """One claim, then a commit for each step."""
        execute = self._connection.execute
        execute(QUEUE)
        called = time.monotonic()
        claimed = execute(CLAIM).fetchone()
        if claimed is None:
            raise RuntimeError("The run queued a moment ago was not there to claim.")
        first_line = time.monotonic()
        for number in range(steps):
            execute(STEP, (claimed[0], f"step-{number}", f'{{"i": {number}}}'))
        return Timeline(called=called, first_line=first_line, last_line=time.monotonic())


def create(place: Place) -> Floor:
    """The floor in that place's database."""
    return Floor(place)

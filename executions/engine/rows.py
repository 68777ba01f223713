"""What a run in hand wants written: the rows, events and moves that a flush carries."""

from __future__ import annotations

from dataclasses import dataclass, field

from executions.callback_secrets import Made
from executions.rules.metadata import Operation
from executions.rules.values import Json, quoted

JsonText = str


@dataclass(slots=True)
class StepRow:
    """A step's row as the next flush writes it. `wait` and `lasted` are seconds from the flush."""

    key: str
    kind: str
    status: str
    seq: int | None = None
    pending: int | None = None
    attempt: int = 1
    run_attempt: int = 1
    input: JsonText | None = None
    output: JsonText | None = None
    error: JsonText | None = None
    heartbeat: JsonText | None = None
    wait: float | None = None
    lasted: float | None = None


@dataclass(slots=True, kw_only=True)
class Move:
    """A change of the run's status. With `seen` it holds only if nobody woke the run since.

    A `payload` is that of the run's next generation.
    """

    status: str
    event: str
    event_data: JsonText = "{}"
    seen: int | None = None
    wait: float | None = None
    attempt: int | None = None
    output: JsonText | None = None
    error: JsonText | None = None
    payload: JsonText | None = None


@dataclass(slots=True)
class TokenRow:
    """A wait token to create. `wait` is seconds until it times out; None: never."""

    id: str
    key: str
    wait: float | None
    tags: JsonText
    secret: Made


@dataclass(slots=True)
class Extras:
    """The rarer things a flush may carry, written in the same transaction."""

    tokens: list[TokenRow] = field(default_factory=list)
    token_waits: list[str] = field(default_factory=list)
    runs: list[JsonText] = field(default_factory=list)
    signals: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[tuple[str, JsonText]] = field(default_factory=list)
    metadata: list[Operation] = field(default_factory=list)
    exposed: dict[str, Json] = field(default_factory=dict)
    # Changes to the metadata of the parent or the root: (run, operation, event).
    family: list[tuple[str, Operation, JsonText]] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Everything one run wants written in one flush."""

    steps: dict[str, StepRow] = field(default_factory=dict)
    # (type, data); the event of a step is its row, told as it is when the flush is made.
    events: list[tuple[str, JsonText | StepRow]] = field(default_factory=list)
    extras: Extras | None = None
    move: Move | None = None
    progress: bool = False
    no: int = 0
    ops: int = 0
    # Outcomes nobody waited for: an effect must not begin before they are durable.
    riding: int = 0

    def extra(self) -> Extras:
        """The extras, made when first needed."""
        if self.extras is None:
            self.extras = Extras()
        return self.extras


def event_data(row: StepRow) -> JsonText:
    """The event of a step's row: which step, of what kind, in which attempt, for how long."""
    lasted = "" if row.lasted is None else f',"ms":{row.lasted * 1000:.0f}'
    return f'{{"key":{quoted(row.key)},"kind":"{row.kind}","attempt":{row.attempt}{lasted}}}'

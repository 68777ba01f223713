"""Text into passages of whole sentences, each beginning with the end of the one before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Each run of marks is looked at once, however long it is.
_END = re.compile(r"(?<![.!?])[.!?]++\s+")
_LONGEST_SHORT = 12
_SHORT = frozenset("mr mrs ms dr prof sr jr vs etc i.e e.g".split())


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text; `start` and `end` are places in it, before spaces are made even."""

    text: str
    start: int
    end: int
    sentences: int


def split(text: str, *, size: int, overlap: int) -> Iterator[Passage]:
    """Passages of at most `size` characters; a longer sentence stays whole.

    The next passage begins with as many trailing sentences as fit in `overlap`.
    """
    held: list[tuple[str, int, int]] = []
    # Characters of what is held, with a space behind each sentence.
    length = 0
    for sentence in _sentences(text):
        more = len(sentence[0]) + 1
        if held and length + more - 1 > size:
            yield _passage(held)
            held, length = _tail(held, overlap, size - more)
        held.append(sentence)
        length += more
    if held:
        yield _passage(held)


def _tail(
    held: list[tuple[str, int, int]], overlap: int, room: int
) -> tuple[list[tuple[str, int, int]], int]:
    """The last sentences that fit in both, and their length."""
    used, first = 0, len(held)
    while first > 0:
        more = len(held[first - 1][0]) + 1
        if used + more > min(overlap, room + 1):
            break
        used, first = used + more, first - 1
    return held[first:], used


def _passage(held: list[tuple[str, int, int]]) -> Passage:
    text = " ".join(part for part, _, _ in held)
    return Passage(text, held[0][1], held[-1][2], len(held))


def _sentences(text: str) -> Iterator[tuple[str, int, int]]:
    begin = 0
    for match in _END.finditer(text):
        before = text[max(begin, match.start() - _LONGEST_SHORT) : match.start()].split()
        word = before[-1].lower().lstrip("(\"'") if before else ""
        if word in _SHORT and match.group().startswith("."):
            continue
        yield from _sentence(text, begin, match.end())
        begin = match.end()
    yield from _sentence(text, begin, len(text))


def _sentence(text: str, begin: int, end: int) -> Iterator[tuple[str, int, int]]:
    part = text[begin:end]
    plain = part.strip()
    if plain:
        start = begin + len(part) - len(part.lstrip())
        yield plain, start, start + len(plain)

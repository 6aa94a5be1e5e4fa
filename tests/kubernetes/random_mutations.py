"""Wrong neighbours of every scalar of the rendered documents: a letter more, a number changed, a line deleted, ..."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.kubernetes.mutations import DELETE, Json, Mutation, Rename


def random_mutations(documents: Sequence[Json], seed: int, count: int) -> Iterator[Mutation]:
    """Yield ``count`` mutations, each of one scalar or of one key, spread evenly over the kinds of documents."""
    chosen = random.Random(seed)
    by_kind: dict[str, list[Json]] = {}
    for document in documents:
        by_kind.setdefault(document["kind"], []).append(document)
    for _ in range(count):
        document = chosen.choice(by_kind[chosen.choice(sorted(by_kind))])
        path, value = chosen.choice([*scalars(document)])
        yield Mutation(
            document["kind"], document["metadata"]["name"], path, wrong_neighbour(path, value, chosen), "any"
        )


def scalars(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield path and value of every scalar, without kind and name, which say what the document is."""
    if isinstance(value, dict):
        for key, item in value.items():
            if (*path, key) not in {("kind",), ("metadata", "name"), ("apiVersion",)}:
                yield from scalars(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from scalars(item, (*path, number))
    else:
        yield path, value


def wrong_neighbour(path: tuple[str | int, ...], value: Any, chosen: random.Random) -> Any:
    """Return a value near the right one, or the deletion or misspelling of its key."""
    key = path[-1]
    changes: list[Any] = [DELETE]
    if isinstance(key, str):
        changes.append(Rename(misspelt(key, chosen)))
    if isinstance(value, bool):
        changes += [not value, not value]
    elif isinstance(value, int):
        changes += [value * 2 + (value == 0), value // 2 if value > 1 else value + 1, str(value)]
    else:
        changes += [misspelt(value, chosen) if value else "x", value + "s", other_number(value, chosen)]
    return chosen.choice(changes)


def misspelt(text: str, chosen: random.Random) -> str:
    """Return a text with one letter doubled."""
    letters = [n for n, letter in enumerate(text) if letter.isalnum()] or [0]
    number = chosen.choice(letters)
    return text[:number] + text[number : number + 1] * 2 + text[number + 1 :]


def other_number(text: str, chosen: random.Random) -> str:
    """Return a text with one of its digits changed, or without its last letter."""
    digits = [n for n, letter in enumerate(text) if letter.isdigit()]
    if not digits:
        return text[:-1]
    number = chosen.choice(digits)
    return f"{text[:number]}{(int(text[number]) + 1) % 10}{text[number + 1 :]}"

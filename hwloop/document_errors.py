"""What a strict model found wrong in a file, as one error: file, key, value, what is allowed, and the near name.

Unknown keys come first: a key that is missing is mostly one that was misspelt.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .arguments import hint, shown
from .errors import InputError, OptionError

Location: TypeAlias = tuple[int | str, ...]
Model: TypeAlias = type[BaseModel]

#: Errors listed at most; the rest are counted.
MOST = 8


def explain(
    where: str,
    error: ValidationError,
    root: Model,
    tables: Mapping[str, Collection[str]] | None = None,
    line: Callable[[Location], int | None] | None = None,
) -> InputError:
    """``error`` of model ``root`` on the document ``where``: an :class:`OptionError` where a key or name is unknown.

    ``tables``: the names that tables of ``root`` may hold, where the model itself allows any. ``line`` finds the line of a key in
    the file, where the document came from one.
    """
    details = _first_unknown(error.errors(), tables or {})
    misspelt: set[Location] = set()
    said: list[tuple[str, bool, int | None]] = []
    for detail in details:
        location = detail["loc"]
        at = None if line is None else line(tuple(part for part, tag in _walk(root, location)[1] if not tag))
        if detail["type"] == "extra_forbidden":
            known = _known(root, location, tables or {})
            text, meant = _unknown(root, location, known)
            misspelt.update(meant)
            said.append((text, True, at))
        elif detail["type"] != "missing" or location not in misspelt:
            said.append((*_one(root, detail), at))
    first, *others = dict.fromkeys((text, at) for text, _, at in said)
    lines = [f"{where}{'' if first[1] is None else f', line {first[1]}'}: {first[0]}"]
    lines += [text if at is None else f"line {at}: {text}" for text, at in others[: MOST - 1]]
    more = [f"and {len(others) + 1 - MOST} more"] if len(others) >= MOST else []
    kind = OptionError if said[0][1] else InputError
    return kind("\n  ".join([*lines, *more]))


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``. Did you mean 'x'?`` with the name among ``known`` that is most like ``name``; empty where none is."""
    near = _near(str(name), known)
    return f". Did you mean {near!r}?" if near else ""


def _near(name: str, known: Iterable[str]) -> str | None:
    spelt = {k.lower().replace("_", "-"): k for k in known}
    found = difflib.get_close_matches(name.lower().replace("_", "-"), spelt, n=1, cutoff=0.6)
    return spelt[found[0]] if found else None


def _first_unknown(details: list[ErrorDetails], tables: Mapping[str, Collection[str]]) -> list[ErrorDetails]:
    """The details, unknown keys in front; all errors of a table of an unknown name are one: its name."""
    unknown: dict[Location, ErrorDetails] = {}
    others = []
    for detail in details:
        location = detail["loc"]
        if len(location) > 1 and location[0] in tables and location[1] not in tables[str(location[0])]:
            unknown[location[:2]] = {**detail, "type": "extra_forbidden", "loc": location[:2]}
        elif detail["type"] == "extra_forbidden":
            unknown[location] = detail
        else:
            others.append(detail)
    return [*unknown.values(), *others]


def _unknown(root: Model, location: Location, known: list[str]) -> tuple[str, list[Location]]:
    """What to say of an unknown key, and where the key that was meant belongs."""
    name = str(location[-1])
    text = f"unknown key {_key(root, location)!r}; known here: {', '.join(known)}"
    near = _near(name, known)
    if near:
        return f"{text}. Did you mean {near!r}?", [(*location[:-1], near)]
    own = _key(root, location[:-1])  # another member of a union may know the key here
    places = [section for section, keys in _sections(root) if name in keys]
    if own in places:
        places = [section for section in places if section.startswith(f"{own}.")]
    if not places:
        return text, []
    place = f"[{places[0]}]" if places[0] else "the top of the file"
    return f"{text}. It belongs to {place}", [(*places[0].split("."), name) if places[0] else (name,)]


def _one(root: Model, detail: ErrorDetails) -> tuple[str, bool]:
    """What to say of one error, and whether a name is unknown."""
    key, kind = _key(root, detail["loc"]), detail["type"]
    message = detail["msg"].removeprefix("Value error, ")
    context: dict[str, Any] = detail.get("ctx", {})
    if kind in ("missing", "union_tag_not_found"):
        tag = str(context.get("discriminator", "")).strip("'")
        source = ' (a citation or the word "assumed")' if key.endswith("source") else ""
        return f"{f'{key}.{tag}' if tag else key} is missing; state it{source}", False
    if kind == "union_tag_invalid":
        tag, found, allowed = str(context["discriminator"]).strip("'"), context["tag"], context["expected_tags"]
        return f"{key}.{tag} = {found!r}; allowed: {allowed}{did_you_mean(found, _quoted(allowed))}", True
    if kind == "value_error":
        return (f"{key}: {message}" if key else message), False
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key or 'the document'} = {shown(detail['input'])}; allowed: a table, [{key or 'section'}]", False
    allowed = message.replace("Input should be ", "").replace("String should ", "text that should ")
    more = did_you_mean(detail["input"], _quoted(allowed)) if kind == "literal_error" else hint(detail["input"])
    return f"{key} = {repr(detail['input'])[:80]}; allowed: {allowed}{more}", False


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


# -- the place of an error in its model -----------------------------------------------------------


def _key(root: Model, location: Location) -> str:
    """``location`` as it is written in the file: without what pydantic adds for the chosen member of a union."""
    return ".".join(str(part) for part, tag in _walk(root, location)[1] if not tag)


def _known(root: Model, location: Location, tables: Mapping[str, Collection[str]]) -> list[str]:
    """Keys of the section in which the last part of ``location`` was not known."""
    if len(location) == 2 and location[0] in tables:
        return list(tables[str(location[0])])
    return list(dict.fromkeys(name for model in _walk(root, location[:-1])[0] for name in model.model_fields))


def _walk(root: Model, location: Location) -> tuple[list[Model], list[tuple[int | str, bool]]]:
    """Models that stand at ``location``, and its parts, each with whether it only names the member of a union."""
    models, parts = [root], []
    for part in location:
        inside = [
            model
            for outer in models
            if isinstance(part, str) and part in outer.model_fields
            for model in _models(outer.model_fields[part].annotation)
        ]
        field = any(part in model.model_fields for model in models)
        tagged = [m for m in models if any(part in get_args(f.annotation) for f in m.model_fields.values())]
        tag = bool(tagged) and not field and len(models) > 1
        models = tagged if tag else (inside or models)
        parts.append((part, tag))
    return models, parts


def _models(annotation: Any) -> list[Model]:
    """Models in a type: itself, members of a union, items of a list or table."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _sections(root: Model, path: str = "") -> Iterable[tuple[str, list[str]]]:
    """Every section of a document by its path, the top of it "", with its keys."""
    yield path, list(root.model_fields)
    for name, field in root.model_fields.items():
        for model in _models(field.annotation):
            yield from _sections(model, f"{path}.{name}".lstrip("."))

"""Documents of stored files as strict models: no unknown field, no other type, no inf or NaN."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .document_errors import explain
from .errors import DataError
from .storage import parse_json

#: Characters of a text in a document, and of a name.
MOST_TEXT, MOST_NAME = 10_000, 256
#: Largest whole number in a document.
MOST_COUNT = 2**53


def _printable(text: str) -> str:
    if not all(letter.isprintable() or letter == "\n" for letter in text):
        raise ValueError("characters that are not printable; allowed: printable ones")
    return text


#: Text that is shown to users: nothing in it may steer a terminal.
Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_printable)]
Name = Annotated[str, Field(max_length=MOST_NAME), AfterValidator(_printable)]
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StrictDocument(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    def to_bytes(self) -> bytes:
        """As JSON, the way that it is stored."""
        return self.model_dump_json(indent=1).encode() + b"\n"


D = TypeVar("D", bound=StrictDocument)


def parse_document(model: type[D], data: bytes, where: str) -> D:
    """``data`` as a document of ``model``; :class:`DataError` naming ``where``, field, found and allowed where it is none."""
    parse_json(data, where)  # refuses what pydantic lets pass: keys that stand twice
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise DataError(str(explain(where, error, model))) from None

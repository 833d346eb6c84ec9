"""Formats records as the lines of a result's files."""

import json


def text_line(record: object, form: str) -> str:
    """Returns the line of a record, including its end.

    Raises TypeError or ValueError for what the form cannot express.
    """
    if form == "json":
        try:
            return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        except TypeError as error:
            raise TypeError(f"{error}: save() writes JSON lines; map the records to values that JSON has") from None
    if type(record) is not str:
        raise TypeError(
            f"save('text') writes str, not {type(record).__name__}: map(str) first, or save() as JSON lines"
        )
    return record + "\n"

"""What all requests to a peer have in common."""

from typing import Any, ClassVar

import msgspec

VERSION = 2


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", forbid_unknown_fields=True):
    """The base class of all requests; `answer` is the type of the answer to the request."""

    answer: ClassVar[Any]
    is_question: ClassVar[bool] = False
    """Whether it changes nothing."""
    is_stream: ClassVar[bool] = False
    """Whether the reply is in the events before the answer."""
    version: int = VERSION

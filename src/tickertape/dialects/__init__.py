"""What clients read: each module renders a stream in the words of one kind of client. `base` is the contract.

To add one, write a module with a `View` and a `Dialect`, and name it in `DIALECTS`.
"""

from tickertape.dialects.base import Dialect
from tickertape.dialects.events import Events
from tickertape.dialects.openai_chat import OpenAIChat

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (OpenAIChat(), Events())}
"""By the name that ``?dialect=`` says."""

DEFAULT = DIALECTS["openai"]
"""What is spoken unless a request says otherwise."""

__all__ = ["DEFAULT", "DIALECTS", "Dialect"]

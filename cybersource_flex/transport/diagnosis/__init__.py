"""Find the likely causes of a 401 response from facts about the call: ``diagnose`` and ``Facts``.

The service returns the same response for every cause. Therefore the diagnosis uses what the client knows: the clocks,
the kind of host, the format of the key id, and calls that were accepted before. A fact is a number, a boolean or a word
of a fixed vocabulary. A fact is never an id, a secret, a host name, a value in a path, or a string from the response.
"""

from .causes import LIKELY, diagnose
from .facts import Facts, InvalidFactError, SuccessCounts, collect_facts, facts_from_response

__all__ = [
    "LIKELY",
    "Facts",
    "InvalidFactError",
    "SuccessCounts",
    "collect_facts",
    "diagnose",
    "facts_from_response",
]

"""Why a request was answered with 401: the causes that are known, ranked by what speaks for and against each.

The service gives the same body for all of them. What helps is around it: clocks, the kind of host, the shape of a key
id, what was accepted before. These facts are numbers, yes or no, and words of a fixed vocabulary: never an id, a
secret, a host's name, a value in a path, or a text of the answer.
"""

from .causes import LIKELY, Cause, diagnose
from .facts import Accepted, Facts, InvalidFactError, circumstances, of_answer

__all__ = ["LIKELY", "Accepted", "Cause", "Facts", "InvalidFactError", "circumstances", "diagnose", "of_answer"]

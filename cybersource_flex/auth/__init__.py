"""Who signs the requests, and how.

``JwtSharedSecret`` is the one to use. ``HttpSignature`` is for merchants that cannot move yet: CyberSource retires it
in March 2027. Both take the same key id and secret from the Business Center.
"""

from .http_signature import HttpSignature
from .jwt import JwtSharedSecret

__all__ = ["HttpSignature", "JwtSharedSecret"]

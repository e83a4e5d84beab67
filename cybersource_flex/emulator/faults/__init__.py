"""Fault injection: the scenarios, their selection for a request, and how each changes the response."""

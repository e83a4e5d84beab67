"""Package of fault injection: scenarios, their selection, and how each changes the response."""

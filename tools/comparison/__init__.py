"""Compare two specifications, or two versions of the package, and rate the changes."""

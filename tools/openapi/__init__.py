"""Read openapi.yaml and check that the templates support it."""

"""The assumptions about the service, and checks that compare them with a host."""

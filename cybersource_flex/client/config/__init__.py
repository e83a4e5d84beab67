"""Client configuration: environment variables, the official SDK's dictionary, and client options."""

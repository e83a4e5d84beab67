"""Package of the client's configuration: environment variables, the official SDK's dictionary, options."""

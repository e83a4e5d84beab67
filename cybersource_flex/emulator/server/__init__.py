"""Package of the emulator's HTTP server: endpoints, connections, TLS, messages, error responses."""

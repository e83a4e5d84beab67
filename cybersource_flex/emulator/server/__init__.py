"""The HTTP server: endpoints, connections, TLS, received requests and error responses."""

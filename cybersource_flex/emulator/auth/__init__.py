"""Authentication of requests: credentials, certificates, the check of each scheme, encrypted bodies."""

"""Package of the emulator's authentication: credentials, certificates, the check of each scheme."""

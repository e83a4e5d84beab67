"""Package of the emulator's operations: sessions, tokens, validation of captured data, the store."""

"""Package of the emulator's pages for browsers: Microform with its field frames, and the studio."""

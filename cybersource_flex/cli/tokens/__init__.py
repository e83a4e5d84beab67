"""The commands that create, show and verify capture contexts and transient tokens."""

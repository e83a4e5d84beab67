"""Mutation testing: create mutants, select the tests that cover them, run them, and report the survivors."""

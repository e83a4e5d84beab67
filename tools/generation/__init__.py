"""Steps of tools/generate.py, from a specification to code and pages."""

"""What all commands share: the exit codes, the reports of errors, the output on terminals, and the click classes."""

"""Run one contender in a separate process: `python worker.py sdk.call "JWT RS256" http://127.0.0.1:1234`.

It creates the contender, calls it once, and prints a line. Then, for each input line with a number, it makes that many
calls and prints the CPU time in microseconds per call. It needs only the standard library, because it runs in the
environment of each SDK.
"""

import gc
import importlib
import sys
import time

# SDKs may print. Only the results may go to the pipe.
results, sys.stdout = sys.stdout, sys.stderr


def report(value):
    results.write(f"{value}\n")
    results.flush()


module, name = sys.argv[1].split(".")
call = getattr(importlib.import_module(module), name)(*sys.argv[2:])
call()
report("true")
for line in sys.stdin:
    count = int(line)
    gc.collect()
    gc.disable()
    # Not timed: this call fills the CPU caches again after the other contenders.
    call()
    started = time.process_time_ns()
    for _ in range(count):
        call()
    taken = time.process_time_ns() - started
    gc.enable()
    report(taken / count / 1000)

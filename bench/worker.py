"""One contender in a process of its own: `python worker.py official.call "JWT RS256" http://127.0.0.1:1234`.

It makes the contender, has it do its work once, and says so with a line. Then, for each line with a number, it does the
work so many times and answers with the CPU time, in microseconds a call. It needs nothing but the standard library, and
runs in each peer's environment.
"""

import gc
import importlib
import sys
import time

# Peers may print; only the answers may go to the pipe.
answers, sys.stdout = sys.stdout, sys.stderr


def answer(text):
    answers.write(f"{text}\n")
    answers.flush()


module, name = sys.argv[1].split(".")
call = getattr(importlib.import_module(module), name)(*sys.argv[2:])
call()
answer("true")
for line in sys.stdin:
    count = int(line)
    gc.collect()
    gc.disable()
    # Not timed: it finds the caches full of what the others used.
    call()
    started = time.process_time_ns()
    for _ in range(count):
        call()
    taken = time.process_time_ns() - started
    gc.enable()
    answer(taken / count / 1000)

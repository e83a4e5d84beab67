"""How long the asynchronous client blocks an event loop: construction, the first call over https, and later calls.

Run as a program, `python event_loop.py URL AUTH`, it prints the longest block in milliseconds of CPU time of the
event loop's thread. A task that only yields observes each iteration of the loop. Wall time would also count the time in
which the loop's thread waits for the interpreter or for a processor.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time

from measure import Reading

__all__ = ["measure_blocks"]

PROCESSES = 7


def measure_blocks() -> dict[str, Reading]:
    from cybersource_flex.emulator import Emulator

    values = []
    with Emulator(tls=True) as emulator:
        command = [sys.executable, __file__, emulator.url, json.dumps(emulator.auth)]
        # The emulator's CA as the system's. A `Tls` object would read its files in its constructor.
        environ = {**os.environ, "SSL_CERT_FILE": emulator.environ["CYBERSOURCE_CA_FILE"]}
        for _ in range(PROCESSES):
            process = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environ)
            values.append(float(process.stdout))
    return {"event_loop.block": Reading.absolute(values, "ms")}


async def longest_block(url: str, auth: dict[str, str]) -> float:
    # Programs import these modules when they start.
    from cybersource_flex import AsyncFlexClient, fields
    from cybersource_flex.auth import JwtSharedSecret

    longest, stopped = 0.0, False

    async def observe() -> None:
        nonlocal longest
        last = time.thread_time()
        while not stopped:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    observer = asyncio.create_task(observe())
    await asyncio.sleep(0.05)
    longest = 0.0
    async with AsyncFlexClient(JwtSharedSecret(**auth), environment=url) as client:
        for _ in range(3):
            await client.create_capture_context(fields(card=["number"]))
    stopped = True
    await observer
    return longest * 1000


if __name__ == "__main__":
    print(asyncio.run(longest_block(sys.argv[1], json.loads(sys.argv[2]))))

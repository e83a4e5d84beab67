"""Package of the HTTP backends: urllib3 for threads, aiohttp for event loops. Import from its modules."""

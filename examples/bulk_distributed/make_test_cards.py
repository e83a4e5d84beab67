"""Print lines of test cards: `python make_test_cards.py 1000 > cards.ndjson`."""

import datetime
import itertools
import json
import sys

from cybersource_flex.cards import TEST_CARDS

year = str(datetime.datetime.now(datetime.UTC).year + 3)
numbers = itertools.cycle(TEST_CARDS.values())
for index, number in zip(range(int(sys.argv[1])), numbers, strict=False):
    print(
        json.dumps(
            {"id": f"order-{index}", "card": {"number": number, "expirationMonth": "12", "expirationYear": year}}
        )
    )

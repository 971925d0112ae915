"""Everything that fails, at once: two gateways, a database that dies, providers that misbehave, callers that leave.

`python -m tests.chaos --minutes 5 --seed 7` (`make chaos MINUTES=5`) runs it; `test_chaos.py` runs a minute of it.
After the faults it heals, waits until nothing is open, and holds what callers were told, what the ledger says, what
the store has and what the providers billed against each other. What does not agree is printed with the seed.
"""

"""imagegate beside its peers, in one run on one machine: `python -m benchmarks.peers`. See ../README.md."""

"""The fault matrix: whatever is away, slow or lying, money and images stay where they belong.

Every fault, what the gateway does about it and the test that shows it, also where that test lies in another folder, are
the table of docs/operate/faults.md; `test_matrix.py` holds the table to the tests there are. Each test here ends with
`proofs.nothing_is_amiss`: the ledger is proved, nothing is open or held, and every image of every 200 can be read.
"""

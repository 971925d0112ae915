"""Spend per day and month, counted in the transaction of the hold itself. Pure."""

from imagegate.errors import BudgetExceeded
from imagegate.journal.books import Books, BudgetKey, Known, Rows
from imagegate.journal.items import Open

Counted = list[tuple[str, str, str]]


def count_hold(item: Open, books: Books, rows: Rows) -> Counted | BudgetExceeded:
    """Add the hold to every budget that applies, or to none. Gives what it now counts on."""
    counted: Counted = []
    for limit in books.limits.get(item.wallet_key, ()):
        if (limit.scope, limit.scope_id) not in item.scopes():
            continue
        for period, most in limit.periods():
            spent, held = books.budgets.get(budget_key(item, limit.scope, limit.scope_id, period), (0, 0))
            left = most - spent - held
            if item.hold_tokens > left:
                return BudgetExceeded(item.hold_tokens, max(left, 0), _whose(limit.scope, period))
            counted.append((limit.scope, limit.scope_id, period))
    for name in counted:
        key = budget_key(item, *name)
        spent, held = books.budgets.get(key, (0, 0))
        books.budgets[key] = spent, held + item.hold_tokens
        rows.counted.add(key)
    return counted


def count_end(known: Known, charged: int, books: Books, rows: Rows) -> None:
    """The hold becomes what was charged, on the budgets that it was counted on."""
    for name in known.counted:
        key = budget_key(known, *name)
        if key in books.budgets:
            spent, held = books.budgets[key]
            books.budgets[key] = spent + charged, held - known.hold_tokens
            rows.counted.add(key)


def recount_hold(known: Known, books: Books, rows: Rows) -> None:
    """A lost generation runs again: its hold counts once more on the same budgets, which it had passed."""
    for name in known.counted:
        key = budget_key(known, *name)
        spent, held = books.budgets.get(key, (0, 0))
        books.budgets[key] = spent, held + known.hold_tokens
        rows.counted.add(key)


def budget_key(owner: Open | Known, scope: str, scope_id: str, period: str) -> BudgetKey:
    return owner.account_id, owner.env, scope, scope_id, period


def _whose(scope: str, period: str) -> str:
    length = "daily" if len(period) > len("2026-01") else "monthly"
    return f"the {length} budget of this {scope}"

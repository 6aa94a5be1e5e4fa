"""The ledger: offered rides reconciled with the outcomes that the suite reports."""

"""The ledger: offered rides reconciled with what the suite says became of them."""

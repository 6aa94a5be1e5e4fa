"""Errors that keep a suite from starting, for the person at the terminal."""


class UserError(Exception):
    """An error that a user can correct. ``problem`` says what is wrong, ``remedy`` what to do next."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

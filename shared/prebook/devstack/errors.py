"""Errors that are shown to the user, each with a remedy."""


class UserError(Exception):
    """An error that a user can correct. ``problem`` says what is wrong, ``remedy`` what to do next."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

"""Statements on the windows of a campaign."""

from sqlalchemy import text

# Two at once meet on the row, and the second one counts on from what the first has committed.
TAKE = text("""
    INSERT INTO token_window (campaign, began, taken)
    VALUES (:campaign, to_timestamp(floor(extract(epoch FROM now()) / :window_s) * :window_s), 1)
    ON CONFLICT (campaign, began) DO UPDATE SET taken = token_window.taken + 1 WHERE token_window.taken < :most
    RETURNING taken""")
LEFT_S = text("""
    SELECT :window_s - (extract(epoch FROM clock_timestamp())
        - floor(extract(epoch FROM now()) / :window_s) * :window_s)""")

"""Pure decisions about parked messages and replays."""

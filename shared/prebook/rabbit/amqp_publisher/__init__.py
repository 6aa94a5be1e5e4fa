"""Publishing half of an AMQP 0-9-1 client: mandatory, confirmed, pipelined. See the README.md next to this file."""

"""A client of AMQP 0-9-1 that can do one thing: publish, mandatory and confirmed, many messages at a time.

Why beside aio-pika, which does all the rest: docs/decisions/0013-amqp-publisher.md.
"""

"""RabbitMQ adapters by aio-pika: links, publisher, consumers, and the management API."""

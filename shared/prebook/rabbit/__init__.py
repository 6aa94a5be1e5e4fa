"""RabbitMQ adapters: connections and consumers (aio-pika), publisher (own AMQP client), management API."""

"""Local RabbitMQ: found on the machine, installed by apt, or a cluster of private nodes."""

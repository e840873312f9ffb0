"""HTTP, thin: reads what is ready, queues what has to be done."""

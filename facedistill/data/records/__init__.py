"""MXNet RecordIO: the `.rec` files in which insightface publishes its data sets."""

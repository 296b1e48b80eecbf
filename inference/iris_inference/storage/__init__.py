"""PostgreSQL: schema, migrations, partitions, predictions and feedback."""

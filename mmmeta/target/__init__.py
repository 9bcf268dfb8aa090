"""SQL databases that jobs load into: tables, columns, statements, receipts. SQLAlchemy is imported when one is opened."""

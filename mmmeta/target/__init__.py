"""SQL databases that jobs load into: their tables and columns, statements and receipts. SQLAlchemy is imported when one is opened."""

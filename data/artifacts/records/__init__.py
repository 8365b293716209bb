"""Files of rows that many processes record."""

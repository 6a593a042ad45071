"""Kinds of URL that pySerial finds here; transport.py adds this package to those that it looks into."""

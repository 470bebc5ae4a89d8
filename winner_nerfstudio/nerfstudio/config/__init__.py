"""Configurations of data parsers, data managers and methods."""

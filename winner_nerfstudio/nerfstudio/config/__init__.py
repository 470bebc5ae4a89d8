"""The configurations of data parsers, data managers, methods and schedulers for nerfstudio."""

"""Surfaces of fitted fields: extraction, level sets, sphere tracing."""

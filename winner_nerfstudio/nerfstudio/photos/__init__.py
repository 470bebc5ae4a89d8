"""Surfaces and radiance fields fitted to photographs."""

"""Everything that touches nerfstudio; its modules are imported by name, see `methods`."""

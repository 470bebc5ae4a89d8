"""What the viewer draws and the controls that it gets: shading, legends, the panel of a sound, export, first view."""

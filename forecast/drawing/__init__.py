"""Pictures: maps of fields on a mesh and curves of scores; the only place that draws."""

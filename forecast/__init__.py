"""Forecasts of the weather on icosahedral meshes: data, model, verification and the verbs."""

__version__ = "0.1.0"

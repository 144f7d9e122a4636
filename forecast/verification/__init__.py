"""Scores of forecasts: statistics that add, baselines, and smoothness."""

"""Datasets: sources of states, the training store, what is fitted from it, and windows."""

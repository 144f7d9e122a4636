"""Networks on a mesh operator: propagators, transport, and the forecaster made of them."""

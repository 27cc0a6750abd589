"""A simulated exchange: one market simulator and servers that speak the exchange's protocols."""

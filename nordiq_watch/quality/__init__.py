"""How good the forecasts were: accuracy against measurements, residuals, drift and cascades."""

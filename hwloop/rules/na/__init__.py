"""NA: gradients by neighbourhood aggregation."""

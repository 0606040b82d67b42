"""Commands on labels: plan, select, label, loop."""

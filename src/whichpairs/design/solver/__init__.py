"""The best batch and its certificate: Frank–Wolfe, pass by pass, then whole labels."""

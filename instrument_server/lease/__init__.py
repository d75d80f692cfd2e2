"""Who may command: the lease, what follows when it changes hands, and the switch at the instrument that wins."""

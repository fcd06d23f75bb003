"""What to do with the winner: the chosen configuration of a cell as a model that recommends, and its vectors."""

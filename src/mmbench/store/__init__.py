"""Records of a sweep, its ledger and leases, and the trackers that mirror them."""

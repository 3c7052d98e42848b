"""Who a caller is and what it may read: tokens, the issuer's keys, permissions."""

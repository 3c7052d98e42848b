"""Where rows wait to be served: keys, packed records, the plan and the marks that both writers and the server go by."""
